package zktest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// pollEvery is how often a condition is looked at again. Each look opens a connection.
const pollEvery = 50 * time.Millisecond

// maxFrame is the longest frame that is believed to be one. ZooKeeper's own
// limit is 1 MiB; text commands and TLS records read as lengths far above this.
const maxFrame = 16 << 20

// FourLetterAt sends one of ZooKeeper's four-letter commands, such as "srvr",
// to any address and returns the whole answer.
func FourLetterAt(ctx context.Context, addr, word string) (string, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, word); err != nil {
		return "", fmt.Errorf("zktest: %s to %s: %w", word, addr, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("zktest: answer to %s from %s: %w", word, addr, errors.Join(err, ctx.Err()))
	}
	return string(answer), nil
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	return conn, nil
}

// poll calls check until it returns nil or ctx ends, and then tells the last failure.
func poll(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// readFrame reads one length-prefixed frame, without the prefix.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("zktest: not a ZooKeeper frame: length %d", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// writeFrame writes the prefix and body in one call, so that they share a packet.
func writeFrame(w io.Writer, body []byte) error {
	buf := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(buf, uint32(len(body)))
	_, err := w.Write(append(buf, body...))
	return err
}
