package session

import (
	"fmt"

	"github.com/zkelection/election/internal/jute"
)

// The driver decodes replies without checking their lengths. It recovers from a slice out
// of bounds, but not from an index out of range, and it reads the end of a transaction's
// results by index. It also makes room for as many elements as a count claims
// (structs.go, decodePacketValue). So each reply is checked here against the records of
// zookeeper.jute before the driver sees it. All counts and lengths must fit into the
// frame.

// checkFrame checks what follows the head of a frame that is no greeting. The body of an
// error, or of an answer that the driver has not asked for, needs no check: the driver
// does not decode it.
func checkFrame(xid int32, asked question, code jute.Code, body []byte) error {
	switch {
	case xid == eventXid:
		return checkEvent(body)
	case asked.op != 0 && code == jute.CodeOK:
		return checkReply(asked, body)
	}
	return nil
}

// maxPassword is more than any server sends (16 bytes), and fits into the driver's next
// connect request.
const maxPassword = 128

// checkGreeting checks the password, the last field of a greeting that the driver
// decodes.
func checkGreeting(b []byte) error {
	r := fields{d: jute.Decoder{B: b[headSize:]}}
	n := r.number("the password")
	if int32(n) > 0 {
		r.skip(n, "the password")
	}
	switch {
	case r.short != "":
		return fmt.Errorf("the server sent a greeting of %d bytes that ends inside %s", len(b), r.short)
	case int32(n) > maxPassword:
		return fmt.Errorf("the server sent a password of %d bytes", n)
	}
	return nil
}

// checkReply checks what follows the head of a successful reply. The replies to other
// operations have no body that the driver decodes.
func checkReply(asked question, body []byte) error {
	r := fields{d: jute.Decoder{B: body}}
	switch asked.op {
	case jute.OpCreate, jute.OpCreateContainer, jute.OpCreateTTL, jute.OpSync:
		r.text("the path")
	case jute.OpExists, jute.OpSetData, jute.OpSetACL:
		r.stat()
	case jute.OpGetData, jute.OpReconfig:
		r.data()
		r.stat()
	case jute.OpGetACL:
		r.acl()
		r.stat()
	case jute.OpGetChildren:
		r.children()
	case jute.OpGetChildren2:
		r.children()
		r.stat()
	case jute.OpMulti:
		if n, failed := r.results(); r.short == "" && !failed && n != asked.parts && asked.parts >= 0 {
			return fmt.Errorf("the server sent %d results of a transaction of %d operations", n, asked.parts)
		}
	}

	if r.short == "" {
		return nil
	}
	return fmt.Errorf("the server sent a reply to %v of %d bytes that ends inside %s",
		asked.op, headSize+len(body), r.short)
}

// checkEvent checks what follows the head of a watch's event.
func checkEvent(body []byte) error {
	r := fields{d: jute.Decoder{B: body}}
	r.skip(8, "the type of an event")
	r.text("the path")
	if r.short == "" {
		return nil
	}
	return fmt.Errorf("the server sent an event of %d bytes that ends inside %s", headSize+len(body), r.short)
}

// fields steps over the fields of one record. Once a field does not fit, it keeps the
// field's name and goes no further.
type fields struct {
	d     jute.Decoder
	short string // the first field that does not fit; empty: all did
}

// fits reports whether all fields have fitted so far, up to the one named.
func (r *fields) fits(what string) bool {
	if r.d.Err != nil && r.short == "" {
		r.short = what
	}
	return r.d.Err == nil
}

// skip steps over n bytes, and reports whether there were so many.
func (r *fields) skip(n uint32, what string) bool {
	r.d.Take(int(n)) // on 32-bit machines a large n becomes negative, which does not fit either
	return r.fits(what)
}

// number reads four bytes.
func (r *fields) number(what string) uint32 {
	n := r.d.Int32()
	r.fits(what)
	return uint32(n)
}

// text steps over a string. The driver reads its length as an unsigned number.
func (r *fields) text(what string) { r.skip(r.number(what), what) }

// data steps over a znode's data. It may be absent: its length is then negative.
func (r *fields) data() {
	if n := r.number("the data"); int32(n) > 0 {
		r.skip(n, "the data")
	}
}

func (r *fields) stat() { r.skip(jute.StatSize, "the stat") }

// count reads the number of elements that follow. Each takes at least so many bytes.
func (r *fields) count(least int, what string) uint32 {
	n := r.number(what)
	if uint64(n)*uint64(least) > uint64(len(r.d.B)) {
		r.d.Fail()
		r.fits(what)
	}
	return n
}

func (r *fields) children() {
	for range r.count(4, "the children") {
		if r.text("a child"); r.short != "" {
			return
		}
	}
}

func (r *fields) acl() {
	for range r.count(12, "the ACL") {
		r.skip(4, "an ACL")
		r.text("an ACL")
		if r.text("an ACL"); r.short != "" {
			return
		}
	}
}

// results counts the results of a transaction, and reports whether one is an error. Each
// result begins with a header: its type, an end mark, and an error code. The driver stops
// at a type that it does not know and returns an error.
func (r *fields) results() (n int, failed bool) {
	for ; ; n++ {
		h := r.d.MultiHeader()
		if !r.fits("the header of a result") || h.Done {
			return n, failed
		}

		switch h.Op {
		case jute.OpError:
			failed = true
			r.skip(4, "an error")
		case jute.OpCreate:
			r.text("a path")
		case jute.OpSetData:
			r.stat()
		case jute.OpCheck, jute.OpDelete:
		default:
			return n, true
		}
	}
}

// question is a request that waits for its reply.
type question struct {
	op    jute.Op
	parts int // the number of operations, if it is a transaction; -1: not known
}

// parts returns the number of operations in a transaction that the driver sends, or -1 if
// the request ends inside one.
func parts(op jute.Op, request []byte) (n int) {
	if op != jute.OpMulti {
		return 0
	}
	r := fields{d: jute.Decoder{B: request[12:]}} // behind its length, xid and code
	for ; ; n++ {
		h := r.d.MultiHeader()
		switch {
		case !r.fits("a header"):
			return -1
		case h.Done:
			return n
		}

		r.text("a path")
		switch h.Op {
		case jute.OpCreate:
			r.data()
			r.acl()
		case jute.OpSetData:
			r.data()
		}
		r.skip(4, "a version, or flags")
	}
}
