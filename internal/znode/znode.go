// Package znode makes and reads the names of candidates' znodes: it fills name templates,
// sorts the children of an election, and says which candidates are ahead of another. It
// does no I/O.
package znode

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// seqDigits is the width of the counter that ZooKeeper appends to a sequential znode's
// name (Java's "%010d" of the parent's cversion,
// PrepRequestProcessor.pRequest2TxnCreate).
const seqDigits = 10

// Placeholders in a name template. Each stands for a UUID that is new for each attempt to
// enter the election.
const (
	UUIDMark = "{uuid}" // 8-4-4-4-12, as Curator writes it
	HexMark  = "{hex}"  // 32 hex digits, as Kazoo writes it
)

// Sequence returns the counter at the end of a child's name. ok is false if the name has
// none: such a child is not a candidate.
//
// The value is the counter modulo 2^32. So a counter that overflows to negative numbers
// ("-2147483648") as the server's does, and a wider one, read the same. Values have no
// order by themselves: see [Sort].
func Sequence(name string) (seq uint32, ok bool) {
	if len(name) < seqDigits {
		return 0, false
	}
	head, tail := name[:len(name)-seqDigits], name[len(name)-seqDigits:]

	negative := false
	if tail[0] == '-' && startsNumber(head) {
		// A small negative number: "-000000001" has ten characters with its sign.
		negative, tail = true, tail[1:]
	} else if tail[0] > '0' && strings.HasSuffix(head, "-") && startsNumber(head[:len(head)-1]) {
		// A large negative number: ten digits and a sign.
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

// startsNumber reports whether a '-' behind head is a sign. It is one in
// "…-latch--2147483648" and "n_-2147483648", but it ends the prefix in
// "…-latch-0000000001". The rule: a prefix ends in a separator, and what follows the
// separator belongs to the number.
func startsNumber(head string) bool {
	return head == "" || strings.HasSuffix(head, "-") || strings.HasSuffix(head, "_")
}

// Sort returns the candidates among children, the first in line first. It leaves out
// children without a sequence number. Children with the same number keep their given
// order (see [Ties]).
//
// The counter wraps at 2^31 and at 2^32, so the numbers lie on a ring. The line begins
// after the largest gap in the ring. This is the true order if the line spans less than
// half the ring.
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

// Ties returns how many names at the front of a sorted line have the same number. There
// is more than one if the counter is full. The server then leaves it at 2^31-1
// (DataTree.createNode keeps the larger cversion). The line must not be empty.
func Ties(line []string) int {
	n := 0
	for first, _ := Sequence(line[0]); n < len(line); n++ {
		if seq, _ := Sequence(line[n]); seq != first {
			break
		}
	}
	return n
}

// Ahead returns the candidates that are ahead of own, the first in line first, and how
// many are behind it. found is false if own is not among the children.
func Ahead(children []string, own string) (ahead []string, behind int, found bool) {
	line := Sort(children)
	i := slices.Index(line, own)
	if i < 0 {
		return nil, 0, false
	}
	return slices.Clip(line[:i]), len(line) - i - 1, true
}

// Prefix fills a name template with the UUID of one attempt to enter the election. The
// server appends its counter to the result.
func Prefix(template string, uuid [16]byte) string {
	h := hex.EncodeToString(uuid[:])
	dashed := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	return strings.NewReplacer(UUIDMark, dashed, HexMark, h).Replace(template)
}

// Plain reports whether [Sequence] reads every counter behind prefix correctly. It does
// not if prefix itself ends in what may be a sign ("job--"): then large counters are read
// as negative numbers.
func Plain(prefix string) bool {
	seq, ok := Sequence(prefix + "1000000000")
	return ok && seq == 1e9
}

// Unique reports whether names made from template differ for each attempt, by a UUID.
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

// CheckPath returns an error if path is no absolute znode path, by the rules of
// ZooKeeper's PathUtils.validatePath. The error continues a sentence about the path. The
// root is a valid path.
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

// maxLen is the longest path, in bytes: a quarter of what a server accepts in one request
// by default (jute.maxbuffer), which may contain a path more than once. On a larger
// request the server ends the connection, for all who share it.
const maxLen = 1 << 18

func tooLong(s string) error { return fmt.Errorf("has %d bytes, more than %d", len(s), maxLen) }

// CheckName returns an error if part is no valid component of a path. The error continues
// a sentence about the path.
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

// forbidden reports whether PathUtils.validatePath refuses the character. Invalid UTF-8
// is forbidden, too. To Java a character above U+FFFF is a pair of surrogates, and it
// refuses both.
func forbidden(r rune) bool {
	return r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0
}

// Join returns the path of a child.
func Join(parent, name string) string {
	if parent == "/" {
		return "/" + name
	}
	return parent + "/" + name
}

// Parents returns the paths of all ancestors of path except the root, the shallowest
// first.
func Parents(path string) []string {
	var all []string
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			all = append(all, path[:i])
		}
	}
	return all
}
