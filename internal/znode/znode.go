// Package znode knows the names that candidates' znodes bear: how they are made, how a line of them is
// read, and who stands ahead of whom. It does no I/O.
package znode

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// seqDigits is the width of the counter that ZooKeeper appends to a sequential znode's name
// (Java's "%010d" of the parent's cversion, PrepRequestProcessor.pRequest2TxnCreate).
const seqDigits = 10

// Placeholders of a name template; each stands for the UUID of one attempt to stand.
const (
	UUIDMark = "{uuid}" // 8-4-4-4-12, as Curator writes it
	HexMark  = "{hex}"  // 32 hex digits, as Kazoo writes it
)

// Sequence reads the counter at the end of a child's name. ok is false for a name without one: such a
// child is not a candidate. The value is the counter modulo 2^32, so that the server's 32-bit overflow to
// negative numbers ("-2147483648") and a wider counter read alike; only Sort gives values an order.
func Sequence(name string) (seq uint32, ok bool) {
	if len(name) < seqDigits {
		return 0, false
	}
	head, tail := name[:len(name)-seqDigits], name[len(name)-seqDigits:]
	negative := false
	if tail[0] == '-' && startsNumber(head) { // a small negative one: "-000000001" is ten wide with its sign
		negative, tail = true, tail[1:]
	} else if tail[0] > '0' && strings.HasSuffix(head, "-") && startsNumber(head[:len(head)-1]) { // one of ten digits and a sign
		negative = true
	}
	var n uint64
	for i := range len(tail) {
		if tail[i] < '0' || tail[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(tail[i]-'0')
	}
	if negative {
		return -uint32(n), true
	}
	return uint32(n), true
}

// startsNumber reports whether a '-' behind head is a sign. In "…-latch-0000000001" it is the end of the
// prefix, in "…-latch--2147483648" and "n_-2147483648" it is a sign: a prefix ends in a separator, and
// what follows the separator belongs to the number.
func startsNumber(head string) bool {
	return head == "" || strings.HasSuffix(head, "-") || strings.HasSuffix(head, "_")
}

// Sort returns the candidates among children, first in line first. Children without a sequence number are
// left out; those of one number stay in the order given (see Ties). The counter wraps at 2^31 and at 2^32, so the
// numbers lie on a ring: the line begins behind the ring's largest gap. That is the true order as long as the line
// spans less than half the ring.
func Sort(children []string) []string {
	type child struct {
		seq  uint32
		name string
	}
	line := make([]child, 0, len(children))
	for _, name := range children {
		if seq, ok := Sequence(name); ok {
			line = append(line, child{seq, name})
		}
	}
	slices.SortStableFunc(line, func(a, b child) int { return cmp.Compare(a.seq, b.seq) })
	first, widest := 0, uint32(0)
	for i := range line {
		before := line[(i+len(line)-1)%len(line)].seq
		if gap := line[i].seq - before; gap > widest { // uint32 arithmetic goes round the ring
			first, widest = i, gap
		}
	}
	names := make([]string, 0, len(line))
	for i := range line {
		names = append(names, line[(first+i)%len(line)].name)
	}
	return names
}

// Ties returns how many names at the head of a sorted line bear the same number. There is more than one when the
// counter is full: the server leaves it at 2^31-1 then (DataTree.createNode keeps the larger cversion).
func Ties(line []string) int {
	n := 0
	for first, _ := Sequence(line[0]); n < len(line); n++ {
		if seq, _ := Sequence(line[n]); seq != first {
			break
		}
	}
	return n
}

// Ahead returns the candidates that stand ahead of own, first in line first. found is false when own is
// not among the children.
func Ahead(children []string, own string) (ahead []string, found bool) {
	line := Sort(children)
	i := slices.Index(line, own)
	if i < 0 {
		return nil, false
	}
	return slices.Clip(line[:i]), true
}

// Prefix fills a name template for one attempt to stand: what the server appends its counter to.
func Prefix(template string, uuid [16]byte) string {
	h := hex.EncodeToString(uuid[:])
	dashed := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	return strings.NewReplacer(UUIDMark, dashed, HexMark, h).Replace(template)
}

// Plain reports whether a counter behind prefix is read for what it is. Where prefix itself ends in what may be a sign
// ("job--"), large ones are not.
func Plain(prefix string) bool {
	seq, ok := Sequence(prefix + "1000000000")
	return ok && seq == 1e9
}

// Unique reports whether names made from template tell one attempt from another.
func Unique(template string) bool {
	return strings.Contains(template, UUIDMark) || strings.Contains(template, HexMark)
}

// NewUUID returns a random (version 4) UUID.
func NewUUID() [16]byte {
	var u [16]byte
	rand.Read(u[:]) // never fails (crypto/rand, Go 1.24)
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// CheckPath says what is wrong with path as an absolute znode path, by the rules of ZooKeeper's
// PathUtils.validatePath. The root is a valid path.
func CheckPath(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("is empty")
	case len(path) > maxLen:
		return tooLong(path)
	case path[0] != '/':
		return fmt.Errorf("does not start with /")
	case path == "/":
		return nil
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("ends with /")
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if err := CheckName(part); err != nil {
			return err
		}
	}
	return nil
}

// maxLen is a quarter of what a server takes in one request by default (jute.maxbuffer), in which a path may stand more
// than once. It cuts the connection on a larger one, under everybody who shares it.
const maxLen = 1 << 18

func tooLong(s string) error { return fmt.Errorf("is of %d bytes, over %d", len(s), maxLen) }

// CheckName says what is wrong with one component of a path.
func CheckName(part string) error {
	switch {
	case part == "":
		return fmt.Errorf("has an empty component (//)")
	case part == "." || part == "..":
		return fmt.Errorf("has a relative component (%s)", part)
	case len(part) > maxLen:
		return tooLong(part)
	}
	for _, r := range part {
		if forbidden(r) {
			return fmt.Errorf("has the character %q, which ZooKeeper does not allow", r)
		}
	}
	return nil
}

// forbidden lists what PathUtils.validatePath refuses, and what is not valid UTF-8. What lies above U+FFFF is a pair of
// surrogates to Java, each of which it refuses.
func forbidden(r rune) bool {
	return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
}

// Join puts a child's name behind its parent's path.
func Join(parent, name string) string {
	if parent == "/" {
		return "/" + name
	}
	return parent + "/" + name
}

// Parents lists the components of path that must exist before it, shallowest first, the root left out.
func Parents(path string) []string {
	var all []string
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			all = append(all, path[:i])
		}
	}
	return all
}
