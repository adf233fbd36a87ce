package zksim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
)

// conn is the server's end of one client connection (ServerCnxn).
type conn struct {
	server *server
	life   int    // the server's incarnation that accepted it
	client string // the client's name on the network
	out    *outbox

	closed  bool
	stage   stage
	waiting [][]byte // frames that came before the session was there (ServerCnxn.disableRecv)
	session int64
	timeout int32 // ms, as granted
	newer   bool  // the client's connect request has a byte for read-only mode (since 3.4), and so has its answer
	auth    []zk.ACL
}

type stage int

const (
	fresh    stage = iota // nothing came yet
	greeting              // the connect request is being answered
	ready
)

// frame takes what the client sent. A server without a quorum closes whoever speaks to it.
func (c *conn) frame(b []byte) {
	switch {
	case c.closed:
	case !c.server.serving:
		c.close()
	case c.stage == fresh:
		c.connect(&decoder{b: b})
	case c.stage == greeting:
		c.waiting = append(c.waiting, b)
	default:
		c.packet(b)
	}
}

// connect is ZooKeeperServer.processConnectRequest.
func (c *conn) connect(d *decoder) {
	d.int32()
	seen, timeout, session, passwd := d.int64(), d.int32(), d.int64(), d.bytes()
	s, cfg := c.server, c.server.e.cfg
	if d.err != nil || seen > s.processed {
		if d.err == nil {
			s.e.stats.Refused++
		}
		c.close()
		return
	}
	d.bool()
	c.newer = d.err == nil
	want := time.Duration(timeout) * time.Millisecond
	c.timeout = int32(min(max(want, cfg.MinSession), cfg.MaxSession).Milliseconds())
	c.stage = greeting
	if session == 0 {
		c.open()
		return
	}
	c.reopen(session, passwd)
}

// open makes a new session: an id of this server, a transaction of the ensemble.
func (c *conn) open() {
	s := c.server
	c.session = s.nextSession
	s.nextSession++
	if s.lead != nil {
		s.lead.tracker.track(c.session, c.timeout, s)
	}
	s.submit(&request{server: s, conn: c, session: c.session, op: OpCreateSession, timeout: c.timeout})
}

// reopen goes on with a session, if its password is right and the leader still knows it. Asking
// the leader touches the session and makes this server its owner.
func (c *conn) reopen(session int64, passwd []byte) {
	s := c.server
	for _, old := range slices.Clone(s.conns) {
		if old != c && old.session == session {
			old.close()
		}
	}
	c.session = session
	switch {
	case !slices.Equal(passwd, password(session)):
		c.established(false)
	case s.lead != nil:
		valid := s.lead.tracker.touch(session, c.timeout)
		c.established(valid)
		s.lead.tracker.setOwner(session, s)
	default:
		s.learn.ch.toLeader(func(n *learner) { n.revalidate(c) })
	}
}

func (n *learner) revalidate(c *conn) {
	t := n.ch.leader.lead.tracker
	valid := t.touch(c.session, c.timeout)
	if valid {
		t.setOwner(c.session, n)
	}
	n.ch.toFollower(func(*server) { c.established(valid) })
}

// established answers the connect request (ZooKeeperServer.finishSessionInit). An unknown session
// gets zeros, and the end of the connection.
func (c *conn) established(valid bool) {
	if c.closed {
		return
	}
	w := newEncoder()
	w.int32(0)
	if valid {
		w.int32(c.timeout)
		w.int64(c.session)
		w.bytes(password(c.session))
	} else {
		w.int32(0)
		w.int64(0)
		w.bytes(make([]byte, 16))
	}
	if c.newer {
		w.bool(false)
	}
	if c.lose(Reply{Op: OpCreateSession}) {
		return
	}
	c.send(w.frame())
	if !valid {
		c.close()
		return
	}
	c.stage = ready
	for len(c.waiting) > 0 && !c.closed {
		b := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.packet(b)
	}
}

// password is a function of the session id alone, so that every server can check it
// (ZooKeeperServer.generatePasswd). It keeps sessions apart, not attackers out.
func password(session int64) []byte {
	r := rand.NewPCG(uint64(session), 0xb3415c00)
	b := binary.BigEndian.AppendUint64(nil, r.Uint64())
	return binary.BigEndian.AppendUint64(b, r.Uint64())
}

// packet is ZooKeeperServer.processPacket.
func (c *conn) packet(b []byte) {
	d := &decoder{b: b}
	r := &request{server: c.server, conn: c, session: c.session, auth: slices.Clone(c.auth)}
	r.xid, r.op = d.int32(), Op(d.int32())
	if d.err != nil {
		c.close()
		return
	}
	c.server.e.stats.Requests++
	if r.op == OpSetAuth {
		c.authenticate(r, d)
		return
	}
	r.decode(d)
	c.server.submit(r)
}

// authenticate answers at once, ahead of what waits for the ensemble, and does not touch the
// session: it never becomes a Request in the original.
func (c *conn) authenticate(r *request, d *decoder) {
	d.int32()
	scheme, cred := d.string(), d.bytes()
	id := zk.ACL{Scheme: scheme}
	switch scheme {
	case "digest":
		id.ID = digestID(cred)
	case "ip":
		id = c.auth[0]
	default:
		c.reply(r, CodeAuthFailed, nil)
		c.close()
		return
	}
	if !slices.Contains(c.auth, id) {
		c.auth = append(c.auth, id)
	}
	c.reply(r, CodeOK, nil)
}

// reply sends an answer, unless a fault takes it away.
func (c *conn) reply(r *request, code Code, body func(*encoder)) {
	if c.closed || c.lose(r.reply(code)) {
		return
	}
	zxid := c.server.processed
	switch {
	case r.op == OpSetAuth:
		zxid = 0
	case code == CodeUnimplemented && !r.op.known(): // never became a transaction, nor read anything
		zxid = -1
	}
	w := newEncoder()
	w.header(r.xid, zxid, code)
	if body != nil && code == CodeOK {
		body(w)
	}
	c.send(w.frame())
}

// notify sends a watch's event.
func (c *conn) notify(event zk.EventType, path string, zxid int64) {
	if c.closed {
		return
	}
	c.server.e.stats.Notifications++
	w := newEncoder()
	w.header(-1, zxid, CodeOK)
	w.int32(int32(event))
	w.int32(int32(zk.StateSyncConnected))
	w.string(path)
	c.send(w.frame())
}

func (c *conn) send(frame []byte) {
	c.server.e.send(c.server.name, c.client, func() { c.out.put(frame) })
}

// close ends the connection from the server's side; the client hears of it behind all that was
// sent before.
func (c *conn) close() {
	if c.closed {
		return
	}
	c.closed = true
	s := c.server
	s.conns = slices.DeleteFunc(s.conns, func(o *conn) bool { return o == c })
	s.tree.watches.forget(c)
	s.e.send(s.name, c.client, c.out.close)
}
