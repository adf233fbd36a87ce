package jute

import (
	"encoding/binary"

	"github.com/go-zookeeper/zk"
)

// Encoder writes one frame: its length and a record (BinaryOutputArchive). Make one with
// [NewEncoder].
type Encoder struct{ b []byte }

// NewEncoder returns an encoder for an empty record.
func NewEncoder() *Encoder { return &Encoder{b: make([]byte, 4, 128)} }

// Int32 writes a number.
func (e *Encoder) Int32(v int32) { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }

// Int64 writes a number.
func (e *Encoder) Int64(v int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }

// Bool writes one byte.
func (e *Encoder) Bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

// Bytes writes a buffer. For nil it writes that there is no value.
func (e *Encoder) Bytes(v []byte) {
	if v == nil {
		e.Int32(-1)
		return
	}
	e.Int32(int32(len(v)))
	e.b = append(e.b, v...)
}

// Text writes a string.
func (e *Encoder) Text(v string) {
	e.Int32(int32(len(v)))
	e.b = append(e.b, v...)
}

// Texts writes a vector of strings.
func (e *Encoder) Texts(v []string) {
	e.Int32(int32(len(v)))
	for _, s := range v {
		e.Text(s)
	}
}

// ACLs writes an access control list.
func (e *Encoder) ACLs(v []zk.ACL) {
	e.Int32(int32(len(v)))
	for _, a := range v {
		e.Int32(a.Perms)
		e.Text(a.Scheme)
		e.Text(a.ID)
	}
}

// Stat writes a znode's stat, which takes [StatSize] bytes.
func (e *Encoder) Stat(s zk.Stat) {
	e.Int64(s.Czxid)
	e.Int64(s.Mzxid)
	e.Int64(s.Ctime)
	e.Int64(s.Mtime)
	e.Int32(s.Version)
	e.Int32(s.Cversion)
	e.Int32(s.Aversion)
	e.Int64(s.EphemeralOwner)
	e.Int32(s.DataLength)
	e.Int32(s.NumChildren)
	e.Int64(s.Pzxid)
}

// ReplyHeader writes the head of a reply: the request's xid, the server's last zxid, and
// an error code.
func (e *Encoder) ReplyHeader(xid int32, zxid int64, code Code) {
	e.Int32(xid)
	e.Int64(zxid)
	e.Int32(int32(code))
}

// MultiHeader writes the header of an operation or of a result in a transaction.
func (e *Encoder) MultiHeader(h MultiHeader) {
	e.Int32(int32(h.Op))
	e.Bool(h.Done)
	e.Int32(int32(h.Code))
}

// MultiEnd writes the header after the last operation or result of a transaction.
func (e *Encoder) MultiEnd() { e.MultiHeader(MultiHeader{Op: OpError, Done: true, Code: -1}) }

// Record returns the record as far as it is written, without its length. It belongs to the
// encoder until the encoder is no longer used.
func (e *Encoder) Record() []byte { return e.b[4:] }

// Frame returns the frame. The encoder must not be used after that.
func (e *Encoder) Frame() []byte {
	binary.BigEndian.PutUint32(e.b, uint32(len(e.b)-4))
	return e.b
}
