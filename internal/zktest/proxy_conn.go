package zktest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/zkelection/election/internal/jute"
)

// proxyConn is one client's connection through a Proxy, and the one to the
// server behind it. Two goroutines serve it, one each way; when either ends,
// both sides are closed.
type proxyConn struct {
	proxy  *Proxy
	ctx    context.Context // done when closed
	cancel context.CancelFunc

	mu      sync.Mutex // guards the rest
	client  net.Conn
	server  net.Conn          // nil until dialled
	pending map[int32][]Frame // requests sent and not answered, by xid; pings share one
	session int64
}

func newProxyConn(p *Proxy, client net.Conn) *proxyConn {
	ctx, cancel := context.WithCancel(context.Background())
	return &proxyConn{proxy: p, ctx: ctx, cancel: cancel, client: client, pending: map[int32][]Frame{}}
}

// close may be called from anywhere, any number of times.
func (c *proxyConn) close() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

// serve runs until either side closes.
func (c *proxyConn) serve() {
	defer c.proxy.leave(c)
	defer c.close()
	if !c.proxy.gate(c, false) || !c.dialServer() {
		return
	}
	client, server := bufio.NewReader(c.client), bufio.NewReader(c.server)
	raw, err := isRaw(client)
	if err != nil {
		return
	}
	c.proxy.work.Go(func() {
		defer c.close()
		if raw {
			c.copyRaw(c.client, server, true)
		} else {
			c.passReplies(server)
		}
	})
	if raw {
		c.copyRaw(c.server, client, false)
	} else {
		c.passRequests(client)
	}
}

// dialServer is false when the server is not there, or c was closed first.
func (c *proxyConn) dialServer() bool {
	ctx, cancel := context.WithTimeout(c.ctx, dialLimit)
	defer cancel()
	conn, err := dial(ctx, c.proxy.Target())
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = conn
	if c.ctx.Err() != nil { // close came between, and saw no server to close
		_ = conn.Close()
	}
	return c.ctx.Err() == nil
}

// isRaw tells by the first bytes that they are no frame's length: four letters,
// or the head of a TLS record.
func isRaw(r *bufio.Reader) (bool, error) {
	head, err := r.Peek(4)
	if err != nil {
		return false, err
	}
	return binary.BigEndian.Uint32(head) > maxFrame, nil
}

// copyRaw passes bytes on as they come.
func (c *proxyConn) copyRaw(w net.Conn, r io.Reader, toClient bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if !c.proxy.gate(c, toClient) {
			return
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			c.proxy.deliveredRaw(toClient, n)
		}
		if err != nil {
			return
		}
	}
}

// passRequests passes the handshake, then requests.
func (c *proxyConn) passRequests(r io.Reader) {
	decode := decodeConnect
	for {
		body, err := readFrame(r)
		if err != nil {
			return
		}
		f := decode(body)
		if decode = decodeRequest; f.Op != jute.OpCreateSession {
			f.Session = c.sessionID()
		}
		if !c.passRequest(f, body) {
			return
		}
	}
}

// passRequest is false when the connection must close.
func (c *proxyConn) passRequest(f Frame, body []byte) bool {
	if !c.admit(f, false) {
		return false
	}
	if r := c.proxy.rule(dropRequest, f); r != nil {
		r.strike()
		return false
	}
	f.dropReply = c.proxy.rule(dropReply, f)
	c.expect(f)
	c.proxy.delivered(f) // counted first: who has the reply must find its request in Stats
	return writeFrame(c.server, body) == nil
}

// admit waits for the link, then for rules that hold f, then for the link
// again, which may have changed meanwhile.
func (c *proxyConn) admit(f Frame, toClient bool) bool {
	if !c.proxy.gate(c, toClient) {
		return false
	}
	r := c.proxy.rule(hold, f)
	if r == nil {
		return true
	}
	r.strike()
	select {
	case <-r.removed:
	case <-c.ctx.Done():
	}
	return c.proxy.gate(c, toClient)
}

// passReplies passes the handshake's answer, then replies and notifications.
func (c *proxyConn) passReplies(r io.Reader) {
	decode := c.decodeConnected
	for {
		body, err := readFrame(r)
		if err != nil {
			return
		}
		f := decode(body)
		decode = c.decodeReply
		if !c.passReply(f, body) {
			return
		}
	}
}

// passReply is false when the connection must close.
func (c *proxyConn) passReply(f Frame, body []byte) bool {
	if !c.admit(f, true) {
		return false
	}
	if f.dropReply != nil {
		f.dropReply.strike()
		return false
	}
	if f.Kind == Notification {
		if r := c.proxy.rule(dropNotification, f); r != nil {
			r.strike()
			return true
		}
	}
	c.proxy.delivered(f)
	return writeFrame(c.client, body) == nil
}

// decodeConnected takes note of the session that the server granted.
func (c *proxyConn) decodeConnected(body []byte) Frame {
	s := decodeConnected(body)
	asked := c.answered(0)
	if s.ID == 0 || s.TimeoutMillis <= 0 {
		c.proxy.forget(asked.Session) // the server knows it no more
	} else {
		c.proxy.remember(s)
	}
	c.mu.Lock()
	c.session = s.ID
	c.mu.Unlock()
	return Frame{Kind: Reply, Op: jute.OpCreateSession, Session: s.ID, Size: len(body) + 4, dropReply: asked.dropReply}
}

// decodeReply adds what is known of the request.
func (c *proxyConn) decodeReply(body []byte) Frame {
	f := decodeReply(body)
	f.Session = c.sessionID()
	if f.Kind == Notification {
		return f
	}
	asked := c.answered(f.Xid)
	f.Op, f.Path, f.dropReply = asked.Op, asked.Path, asked.dropReply
	if f.Op == jute.OpCloseSession && f.Err == jute.CodeOK {
		c.proxy.forget(f.Session)
	}
	return f
}

func (c *proxyConn) sessionID() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// expect takes note of a request before it is sent, since the answer may be quick.
func (c *proxyConn) expect(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[f.Xid] = append(c.pending[f.Xid], f)
}

// answered returns the oldest request with that xid; the server keeps the order.
func (c *proxyConn) answered(xid int32) Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	queue := c.pending[xid]
	if len(queue) == 0 {
		return Frame{}
	}
	if len(queue) == 1 {
		delete(c.pending, xid)
	} else {
		c.pending[xid] = queue[1:]
	}
	return queue[0]
}
