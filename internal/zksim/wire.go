package zksim

import (
	"encoding/binary"
	"errors"

	"github.com/go-zookeeper/zk"
)

// errShort says that a frame ended before its record did. The original answers such a request
// with MARSHALLINGERROR (PrepRequestProcessor.pRequestHelper).
var errShort = errors.New("zksim: record is cut short")

// decoder reads jute, ZooKeeper's serialisation (BinaryInputArchive). It remembers the first error,
// so that a record is decoded in one go and checked once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b) {
		d.err = errShort
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) int32() int32 {
	if v := d.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if v := d.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.take(1)
	return len(v) == 1 && v[0] != 0
}

// bytes keeps null (length -1) apart from empty, as the original does: a znode may hold either.
func (d *decoder) bytes() []byte {
	n := d.int32()
	if n < 0 || d.err != nil {
		return nil
	}
	return append([]byte{}, d.take(int(n))...)
}

func (d *decoder) string() string { return string(d.bytes()) }

// count reads a vector's length; every element takes at least min bytes, so that a wild length
// cannot make the caller loop for long.
func (d *decoder) count(min int) int {
	n := int(d.int32())
	if n < 0 {
		return 0
	}
	if n > len(d.b)/min {
		d.err = errShort
		return 0
	}
	return n
}

func (d *decoder) strings() []string {
	out := make([]string, d.count(4))
	for i := range out {
		out[i] = d.string()
	}
	return out
}

func (d *decoder) acls() []zk.ACL {
	out := make([]zk.ACL, d.count(12))
	for i := range out {
		out[i] = zk.ACL{Perms: d.int32(), Scheme: d.string(), ID: d.string()}
	}
	return out
}

// encoder writes jute (BinaryOutputArchive). The first four bytes are kept for the frame's length.
type encoder struct{ b []byte }

func newEncoder() *encoder { return &encoder{b: make([]byte, 4, 128)} }

func (w *encoder) int32(v int32)   { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *encoder) int64(v int64)   { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }
func (w *encoder) string(v string) { w.int32(int32(len(v))); w.b = append(w.b, v...) }

func (w *encoder) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *encoder) bytes(v []byte) {
	if v == nil {
		w.int32(-1)
		return
	}
	w.int32(int32(len(v)))
	w.b = append(w.b, v...)
}

func (w *encoder) strings(v []string) {
	w.int32(int32(len(v)))
	for _, s := range v {
		w.string(s)
	}
}

func (w *encoder) acls(v []zk.ACL) {
	w.int32(int32(len(v)))
	for _, a := range v {
		w.int32(a.Perms)
		w.string(a.Scheme)
		w.string(a.ID)
	}
}

func (w *encoder) stat(s zk.Stat) {
	w.int64(s.Czxid)
	w.int64(s.Mzxid)
	w.int64(s.Ctime)
	w.int64(s.Mtime)
	w.int32(s.Version)
	w.int32(s.Cversion)
	w.int32(s.Aversion)
	w.int64(s.EphemeralOwner)
	w.int32(s.DataLength)
	w.int32(s.NumChildren)
	w.int64(s.Pzxid)
}

// header is a reply's header: the request's xid, the server's last processed zxid, the error.
func (w *encoder) header(xid int32, zxid int64, err Code) {
	w.int32(xid)
	w.int64(zxid)
	w.int32(int32(err))
}

// frame sets the length and hands the frame out.
func (w *encoder) frame() []byte {
	binary.BigEndian.PutUint32(w.b, uint32(len(w.b)-4))
	return w.b
}
