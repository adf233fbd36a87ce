package zktest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// ErrNoSession is returned by ExpireSession when the server knows no session by
// that number and password: it has ended already.
var ErrNoSession = errors.New("zktest: no such session")

// Session is what a client needs in order to resume its session elsewhere.
type Session struct {
	ID            int64
	Passwd        []byte
	TimeoutMillis int32 // as the server granted it
}

// ExpireSession makes the server at addr end the session id now, as if it had
// expired. It joins the session with its password, as a client that reconnects
// does, and closes it. The session's owner is disconnected by that, and is told
// that its session expired as soon as it comes back.
//
// In an ensemble, addr should be the server that the owner is connected to.
//
// An owner that reconnects in the very moment takes the session back, and the server hangs up on us; then it is
// tried again.
func ExpireSession(ctx context.Context, addr string, id int64, passwd []byte) error {
	for again := false; ; again = true {
		err := expireOnce(ctx, addr, id, passwd)
		switch {
		case again && errors.Is(err, ErrNoSession):
			return nil // the attempt before this one succeeded
		case ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
			continue
		case err != nil:
			return fmt.Errorf("zktest: expire session 0x%x at %s: %w", id, addr, errors.Join(err, ctx.Err()))
		}
		return nil
	}
}

func expireOnce(ctx context.Context, addr string, id int64, passwd []byte) error {
	conn, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := joinSession(conn, id, passwd); err != nil {
		return err
	}
	return closeSession(conn)
}

// joinSession is the handshake of a client that reconnects.
func joinSession(conn io.ReadWriter, id int64, passwd []byte) error {
	req := binary.BigEndian.AppendUint32(nil, 0) // protocol version
	req = binary.BigEndian.AppendUint64(req, 0)  // last zxid seen: none, so that no server is too far behind
	req = binary.BigEndian.AppendUint32(req, 10_000)
	req = binary.BigEndian.AppendUint64(req, uint64(id))
	req = binary.BigEndian.AppendUint32(req, uint32(len(passwd)))
	req = append(req, passwd...)
	req = append(req, 0) // not read-only
	if err := writeFrame(conn, req); err != nil {
		return err
	}
	body, err := readFrame(conn)
	if err != nil {
		return err
	}
	if s := decodeConnected(body); s.ID != id || s.TimeoutMillis <= 0 {
		return ErrNoSession
	}
	return nil
}

// closeSession returns once the server has ended the session.
func closeSession(conn io.ReadWriter) error {
	const xid = 1
	req := binary.BigEndian.AppendUint32(nil, xid)
	op := OpClose
	req = binary.BigEndian.AppendUint32(req, uint32(op))
	if err := writeFrame(conn, req); err != nil {
		return err
	}
	for {
		body, err := readFrame(conn)
		if err != nil {
			return err
		}
		if f := decodeReply(body); f.Xid == xid {
			return errorCode(f.Err)
		}
	}
}

func errorCode(code int32) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("the server answered with error %d", code)
}
