package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// A server that turns a client away says why in its own log only. The client sees the
// connection end, or an error of the network or of TLS. The functions here add what that
// usually means, and wrap the error.

const (
	// ZooKeeperServer.processConnectRequest closes the connection of a client that has
	// seen a larger zxid than the server has. NIOServerCnxnFactory closes connections
	// over maxClientCnxns. NIOServerCnxn closes all connections while there is no quorum.
	turnedAway = "the server closed the connection in place of a greeting: it has no quorum yet, its data were " +
		"lost or rolled back (it refuses clients that have seen more), this address has too many connections " +
		"(maxClientCnxns), or "
	orTLS         = "the port speaks TLS (WithTLS)"
	orCertificate = "it refuses the client's certificate"
	refused       = "the server refuses the TLS connection, most likely for the client's certificate"
	silentServer  = "the server accepted the connection and sent no greeting in time: it is overloaded, or no ZooKeeper"
)

// explain adds what err means if it came on conn in place of a greeting.
func explain(err error, conn net.Conn) error {
	_, encrypted := conn.(*tls.Conn)
	var why string
	switch {
	case refusal(err):
		why = refused
	case closed(err) && encrypted:
		why = turnedAway + orCertificate
	case closed(err):
		why = turnedAway + orTLS
	case timedOut(err):
		why = silentServer
	default:
		return err
	}
	if at := conn.RemoteAddr(); at != nil {
		why = at.String() + ": " + why
	}
	return fmt.Errorf("%s: %w", why, err)
}

// ExplainTLS adds what err means if it came from a TLS handshake. A plain port of
// ZooKeeper reads the first bytes of a handshake as the length of a request that is too
// large, and closes the connection (NIOServerCnxn.readLength).
func ExplainTLS(err error) error {
	var plain tls.RecordHeaderError
	switch {
	case refusal(err):
		return fmt.Errorf("%s: %w", refused, err)
	case errors.As(err, &plain):
		return fmt.Errorf("the port does not speak TLS (ZooKeeper's secureClientPort does): %w", err)
	case closed(err):
		return fmt.Errorf("the server closed the connection during the TLS handshake: the port does not speak TLS "+
			"(ZooKeeper's secureClientPort does), or the server refuses the client's certificate: %w", err)
	case timedOut(err):
		return fmt.Errorf("the server did not answer the TLS handshake in time: the port does not speak TLS "+
			"(ZooKeeper's secureClientPort does), or the server is overloaded: %w", err)
	}
	return err
}

// closed reports whether err says that the other side has ended the connection.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// timedOut reports whether err says that a deadline has passed.
func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// refusal reports whether err says that the other side has sent a TLS alert (crypto/tls,
// Conn.readRecord).
func refusal(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// strangeGreeting returns the error for a first frame of a size that no greeting has.
func strangeGreeting(size uint32) error {
	const alert, version3 = 0x15, 0x03 // the first bytes of a TLS record (RFC 8446, 5.1)
	if size>>16 == alert<<8|version3 {
		return errors.New("this is no ZooKeeper server, or the port speaks TLS (WithTLS): it sent a TLS alert")
	}
	return fmt.Errorf("this is no ZooKeeper server: a greeting of %d bytes", size)
}
