package jute

import (
	"encoding/binary"
	"errors"

	"github.com/go-zookeeper/zk"
)

// StatSize is the length of an encoded Stat, in bytes.
const StatSize = 68

// ErrShort is [Decoder.Err] if the record ended before a field did.
var ErrShort = errors.New("jute: the record is cut short")

// Decoder reads one record (BinaryInputArchive). It keeps the first error, so that a
// caller can read a whole record and check Err once. After an error every field reads as
// its zero value.
type Decoder struct {
	B   []byte // what is left
	Err error
}

// Take returns the next n bytes. They belong to the record and are not copied. It returns
// nil and sets Err to [ErrShort] if there are fewer, or if n is negative.
func (d *Decoder) Take(n int) []byte {
	if d.Err != nil || n < 0 || n > len(d.B) {
		d.Fail()
		return nil
	}
	v := d.B[:n]
	d.B = d.B[n:]
	return v
}

// Fail sets Err to [ErrShort] if there is no error yet.
func (d *Decoder) Fail() {
	if d.Err == nil {
		d.Err = ErrShort
	}
}

// Int32 reads a number.
func (d *Decoder) Int32() int32 {
	if v := d.Take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

// Int64 reads a number.
func (d *Decoder) Int64() int64 {
	if v := d.Take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// Bool reads one byte. It is true unless the byte is 0.
func (d *Decoder) Bool() bool {
	v := d.Take(1)
	return len(v) == 1 && v[0] != 0
}

// Bytes reads a buffer and copies it. A buffer without a value (length -1) is nil, and an
// empty one is not: a znode may hold either.
func (d *Decoder) Bytes() []byte {
	n := d.Int32()
	if n < 0 || d.Err != nil {
		return nil
	}
	return append([]byte{}, d.Take(int(n))...)
}

// Text reads a string. A string without a value (length -1) is empty.
func (d *Decoder) Text() string { return string(d.Bytes()) }

// Count reads the number of elements in a vector. Each element takes at least least
// bytes. A number that does not fit into the record is an error, so that a wild one makes
// no caller allocate. A vector without a value (-1) has no elements.
func (d *Decoder) Count(least int) int {
	n := int(d.Int32())
	if n < 0 {
		return 0
	}
	if n > len(d.B)/least {
		d.Fail()
		return 0
	}
	return n
}

// Texts reads a vector of strings.
func (d *Decoder) Texts() []string {
	out := make([]string, d.Count(4))
	for i := range out {
		out[i] = d.Text()
	}
	return out
}

// ACLs reads an access control list.
func (d *Decoder) ACLs() []zk.ACL {
	out := make([]zk.ACL, d.Count(12))
	for i := range out {
		out[i] = zk.ACL{Perms: d.Int32(), Scheme: d.Text(), ID: d.Text()}
	}
	return out
}

// MultiHeader is what precedes each operation or result of a transaction.
type MultiHeader struct {
	Op   Op
	Done bool // there is no further operation
	Code Code // of a result
}

// MultiHeader reads the header of an operation or of a result in a transaction.
func (d *Decoder) MultiHeader() MultiHeader {
	return MultiHeader{Op: Op(d.Int32()), Done: d.Bool(), Code: Code(d.Int32())}
}
