package zksim

import (
	"crypto/sha1"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// An identity (Id in the original) is a zk.ACL with zero Perms: it has only a scheme and
// an id.

// digestID is DigestAuthenticationProvider.generateDigest:
// user:base64(sha1(user:password)).
func digestID(cred []byte) string {
	user, _, _ := strings.Cut(string(cred), ":")
	sum := sha1.Sum(cred)
	return user + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

// fixACL is PrepRequestProcessor.fixupACL. It refuses an empty list and unknown schemes,
// drops duplicates, and replaces "auth" by the identities that the connection has proved.
func fixACL(acls, auth []zk.ACL) ([]zk.ACL, jute.Code) {
	var out []zk.ACL
	for i, a := range acls {
		switch {
		case slices.Contains(acls[:i], a):
		case a.Scheme == "world" && a.ID == "anyone", validID(a.Scheme, a.ID):
			out = append(out, a)
		case a.Scheme == "auth":
			proved := provedBy(auth, a.Perms)
			if len(proved) == 0 {
				return nil, jute.CodeInvalidACL
			}
			out = append(out, proved...)
		default:
			return nil, jute.CodeInvalidACL
		}
	}

	if len(out) == 0 {
		return nil, jute.CodeInvalidACL
	}
	return out, jute.CodeOK
}

// provedBy returns the proved identities as ACL entries. It leaves out ip identities: an
// address is no proof (IPAuthenticationProvider.isAuthenticated).
func provedBy(auth []zk.ACL, perms int32) []zk.ACL {
	var out []zk.ACL
	for _, id := range auth {
		if id.Scheme == "digest" {
			out = append(out, zk.ACL{Perms: perms, Scheme: id.Scheme, ID: id.ID})
		}
	}
	return out
}

// validID is ServerAuthenticationProvider.isValid for the two providers that every server
// has.
func validID(scheme, id string) bool {
	switch scheme {
	case "digest":
		return strings.Count(id, ":") == 1 && !strings.HasSuffix(id, ":")
	case "ip":
		_, err := netip.ParseAddr(id)
		_, perr := netip.ParsePrefix(id)
		return err == nil || perr == nil
	}
	return false
}

// allowed is ZooKeeperServer.checkACL: one entry must grant any of perms to one of the
// identities.
func allowed(acl []zk.ACL, perms int32, auth []zk.ACL) bool {
	if len(acl) == 0 {
		return true
	}
	for _, a := range acl {
		if a.Perms&perms == 0 {
			continue
		}
		if a.Scheme == "world" && a.ID == "anyone" {
			return true
		}
		for _, id := range auth {
			if id.Scheme == a.Scheme && matches(a.Scheme, id.ID, a.ID) {
				return true
			}
		}
	}
	return false
}

func matches(scheme, id, expr string) bool {
	if id == expr || scheme != "ip" {
		return id == expr
	}
	addr, err := netip.ParseAddr(id)
	prefix, perr := netip.ParsePrefix(expr)
	return err == nil && perr == nil && prefix.Contains(addr)
}

// masked hides password hashes, for readers without ADMIN permission on the node
// (FinalRequestProcessor, OpCode.getACL).
func masked(acl []zk.ACL) []zk.ACL {
	out := slices.Clone(acl)
	for i, a := range out {
		if user, _, ok := strings.Cut(a.ID, ":"); ok && a.Scheme == "digest" {
			out[i].ID = user + ":x"
		}
	}
	return out
}
