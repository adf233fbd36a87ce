package election

import (
	"context"
	"errors"
	"fmt"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Open returns a client for the ensemble that connectString names, without waiting for a
// server. So a service can start while ZooKeeper is down, and takes part in its elections
// as soon as ZooKeeper can be reached. connectString and opts are those of [Connect].
//
// The client connects in the background until [Client.Close]. [Candidate.Start],
// [Candidate.Await], [Candidate.Run], [Client.Leader], [Client.Participants] and [Client.Do]
// wait until there is a session and every [WithAuth] is done, or until their ctx ends.
// [Client.Observe] and [Client.Follow] report [ErrDisconnected] meanwhile. [Client.Status]
// says what keeps the client from connecting, and so does the log after one session
// timeout.
//
// If ZooKeeper refuses the credentials of a WithAuth, the calls that wait return an error
// that wraps zk.ErrAuthFailed. Observe does not wait for the credentials: until they are
// accepted it may yield zk.ErrNoAuth.
//
// Open returns one error that names all wrong arguments and options. It waits only for the
// Init of a [WithHostProvider], and returns Init's error.
func Open(connectString string, opts ...ClientOption) (*Client, error) {
	c, err := open(context.Background(), "Open", connectString, opts)
	if err != nil {
		return nil, err
	}
	c.authenticateLater()
	return c, nil
}

// open checks the arguments of method, and begins to connect.
func open(ctx context.Context, method, connectString string, opts []ClientOption) (*Client, error) {
	cfg := newClientConfig(opts)
	servers, chroot, err := parseConnectString(connectString)
	if err := errors.Join(append([]error{err}, cfg.errs...)...); err != nil {
		return nil, fmt.Errorf("election: %s: %w", method, err)
	}

	sess, err := dial(ctx, session.Config{Servers: servers, Timeout: cfg.timeout, Dialer: cfg.dial(),
		Provider: cfg.provider, Log: cfg.log})
	if err != nil {
		return nil, fmt.Errorf("election: %s: %s: %w", method, znode.Brief(connectString), err)
	}
	return newClient(sess, logSession(sess, cfg.log), chroot, cfg.timeout, cfg), nil
}

// dial is session.Dial that also returns when ctx ends. session.Dial may block for longer if
// the user's host provider looks up names (zk.HostProvider.Init).
func dial(ctx context.Context, cfg session.Config) (*session.Session, error) {
	type dialled struct {
		sess *session.Session
		err  error
	}

	done := make(chan dialled)
	go func() {
		sess, err := session.Dial(cfg)
		select {
		case done <- dialled{sess, err}:
		case <-ctx.Done():
			if err == nil {
				sess.Close()
			}
		}
	}()

	select {
	case d := <-done:
		return d.sess, d.err
	case <-ctx.Done():
		return nil, session.CtxError(ctx)
	}
}
