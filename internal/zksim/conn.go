package zksim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// conn is the server's end of one client connection (ServerCnxn).
type conn struct {
	server *server
	life   int    // the incarnation of the server that accepted it
	client string // the client's name on the network
	out    *outbox

	closed  bool
	stage   stage
	waiting [][]byte // frames that came before the session was made (ServerCnxn.disableRecv)
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

// frame takes one frame of the client. A server without a quorum closes the connection.
func (c *conn) frame(b []byte) {
	switch {
	case c.closed:
	case !c.server.serving:
		c.close()
	case c.stage == fresh:
		c.connect(&jute.Decoder{B: b})
	case c.stage == greeting:
		c.waiting = append(c.waiting, b)
	default:
		c.packet(b)
	}
}

// connect is ZooKeeperServer.processConnectRequest.
func (c *conn) connect(d *jute.Decoder) {
	d.Int32()
	seen, timeout, session, passwd := d.Int64(), d.Int32(), d.Int64(), d.Bytes()
	s, cfg := c.server, c.server.e.cfg
	if d.Err != nil || seen > s.processed {
		if d.Err == nil {
			s.e.stats.Refused++
		}
		c.close()
		return
	}

	d.Bool()
	c.newer = d.Err == nil
	want := time.Duration(timeout) * time.Millisecond
	c.timeout = int32(min(max(want, cfg.MinSession), cfg.MaxSession).Milliseconds())

	c.stage = greeting
	if session == 0 {
		c.open()
		return
	}
	c.reopen(session, passwd)
}

// open makes a new session. The server chooses its id, and the ensemble commits a
// transaction.
func (c *conn) open() {
	s := c.server
	c.session = s.nextSession
	s.nextSession++
	if s.lead != nil {
		s.lead.tracker.track(c.session, c.timeout, s)
	}
	s.submit(&request{server: s, conn: c, session: c.session, op: jute.OpCreateSession, timeout: c.timeout})
}

// reopen resumes a session if the password is right and the leader still knows the
// session. Asking the leader touches the session and makes this server its owner.
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
		valid := s.lead.tracker.resume(session, c.timeout)
		c.established(valid)
		s.lead.tracker.setOwner(session, s)
	default:
		s.learn.ch.toLeader(func(n *learner) { n.revalidate(c) })
	}
}

func (n *learner) revalidate(c *conn) {
	t := n.ch.leader.lead.tracker
	valid := t.resume(c.session, c.timeout)
	if valid {
		t.setOwner(c.session, n)
	}
	n.ch.toFollower(func(*server) { c.established(valid) })
}

// greet answers the connect request (ZooKeeperServer.finishSessionInit). For an unknown
// session the answer holds zeros, and the connection ends.
func (c *conn) greet(valid bool) {
	if c.closed {
		return
	}
	w := jute.NewEncoder()
	w.Int32(0)
	if valid {
		w.Int32(c.timeout)
		w.Int64(c.session)
		w.Bytes(password(c.session))
	} else {
		w.Int32(0)
		w.Int64(0)
		w.Bytes(make([]byte, 16))
	}

	if c.newer {
		w.Bool(false)
	}
	if c.lose(Reply{Op: jute.OpCreateSession}) {
		return
	}

	c.send(w.Frame())
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

// password is a function of the session id only, so that every server can check it
// (ZooKeeperServer.generatePasswd). It keeps sessions apart. It does not keep attackers
// out.
func password(session int64) []byte {
	r := rand.NewPCG(uint64(session), 0xb3415c00)
	b := binary.BigEndian.AppendUint64(nil, r.Uint64())
	return binary.BigEndian.AppendUint64(b, r.Uint64())
}

// packet is ZooKeeperServer.processPacket.
func (c *conn) packet(b []byte) {
	if c.server.e.muted[c.client] {
		c.close()
		return
	}

	d := &jute.Decoder{B: b}
	r := &request{server: c.server, conn: c, session: c.session, auth: slices.Clone(c.auth)}
	r.xid, r.op = d.Int32(), jute.Op(d.Int32())
	if d.Err != nil {
		c.close()
		return
	}

	c.server.e.stats.Requests++
	if r.op == jute.OpAuth {
		if code := c.server.refusal(r); code != jute.CodeOK {
			c.server.refuse(r, code)
			return
		}
		c.authenticate(r, d)
		return
	}
	r.decode(d)
	c.server.submit(r)
}

// authenticate answers at once, ahead of requests that wait for the ensemble, and does
// not touch the session. In the original, credentials never become a Request.
func (c *conn) authenticate(r *request, d *jute.Decoder) {
	d.Int32()
	scheme, cred := d.Text(), d.Bytes()
	id := zk.ACL{Scheme: scheme}
	switch scheme {
	case "digest":
		id.ID = digestID(cred)
	case "ip":
		id = c.auth[0]
	default:
		c.reply(r, jute.CodeAuthFailed, nil)
		c.close()
		return
	}
	if !slices.Contains(c.auth, id) {
		c.auth = append(c.auth, id)
	}
	c.reply(r, jute.CodeOK, nil)
}

// reply sends an answer, unless a fault takes it away.
func (c *conn) reply(r *request, code jute.Code, body func(*jute.Encoder)) {
	if c.closed || c.lose(r.reply(code)) {
		return
	}
	zxid := c.server.processed
	switch {
	case r.op == jute.OpAuth:
		zxid = 0
	case code == jute.CodeUnimplemented && !c.server.e.knows(r.op):
		zxid = -1 // the request was neither a transaction nor a read
	}
	w := jute.NewEncoder()
	w.ReplyHeader(r.xid, zxid, code)
	if body != nil && code == jute.CodeOK {
		body(w)
	}
	c.send(w.Frame())
}

// notify sends a watch's event.
func (c *conn) notify(event zk.EventType, path string, zxid int64) {
	if c.closed {
		return
	}
	c.server.e.stats.Notifications++
	w := jute.NewEncoder()
	w.ReplyHeader(-1, zxid, jute.CodeOK)
	w.Int32(int32(event))
	w.Int32(int32(zk.StateSyncConnected))
	w.Text(path)
	c.send(w.Frame())
}

func (c *conn) send(frame []byte) {
	c.server.e.send(c.server.name, c.client, func() { c.out.put(frame) })
}

// close ends the connection from the server's side. The client sees the end after
// everything that was sent before.
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
