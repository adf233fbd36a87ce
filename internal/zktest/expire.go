package zktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/zkelection/election/internal/jute"
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
	req := jute.NewEncoder()
	req.Int32(0) // protocol version
	req.Int64(0) // last zxid seen: none, so that no server is too far behind
	req.Int32(10_000)
	req.Int64(id)
	req.Bytes(passwd)
	req.Bool(false) // not read-only
	if _, err := conn.Write(req.Frame()); err != nil {
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
	req := jute.NewEncoder()
	req.Int32(xid)
	req.Int32(int32(jute.OpCloseSession))
	if _, err := conn.Write(req.Frame()); err != nil {
		return err
	}
	for {
		body, err := readFrame(conn)
		if err != nil {
			return err
		}
		switch f := decodeReply(body); {
		case f.Xid != xid:
		case f.Err != jute.CodeOK:
			return f.Err
		default:
			return nil
		}
	}
}
