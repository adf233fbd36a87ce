package zktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The ports and folders inside the container; those of the official image.
const (
	clientPort = 2181
	securePort = 2281
	dataDir    = "/data"
	confDir    = "/conf"
)

// closeLimit bounds Close, which no caller's context may cut short: a
// container that is left behind costs the next run more than the wait.
const closeLimit = time.Minute

// Server is one ZooKeeper server in a container. Its address stays the same for
// as long as the Server lives, across Stop and Restart. Its methods may be
// called from several goroutines.
type Server struct {
	engine     *engine
	container  string // its ID
	addr       string
	secureAddr string // empty without TLS

	closing  sync.Once
	closeErr error
}

// Launch starts one server that stands alone, and returns once it serves.
// The caller must Close it. When ctx ends first, whatever was started is
// removed and the error says what the server was doing.
func Launch(ctx context.Context, opts ...Option) (*Server, error) {
	s, err := create(ctx, newSettings(append(aloneOptions(), opts...)), nil)
	if err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// aloneOptions make a server that stands alone an ensemble of one. ZooKeeper's
// standalone mode has a race when it starts (seen in 3.8.0): a connection that
// comes in before its database is made is neither served nor ever closed, and
// go-zookeeper then waits ten times its receive timeout for an answer. Clients
// that reconnect during Restart hit that every now and then. An ensemble has its
// database before it listens.
func aloneOptions() []Option {
	return []Option{
		func(s *settings) { s.id = 1 },
		WithConfig("standaloneEnabled", "false"),
		WithConfig("server.1", "127.0.0.1:2888:3888"),
	}
}

// begin starts the container and waits until it serves.
func (s *Server) begin(ctx context.Context) error {
	if err := s.engine.start(ctx, s.container); err != nil {
		return err
	}
	return s.waitServing(ctx)
}

// Addr is host:port of the plain client port.
func (s *Server) Addr() string { return s.addr }

// SecureAddr is host:port of the TLS client port; empty unless WithTLS was given.
func (s *Server) SecureAddr() string { return s.secureAddr }

// Stop ends the server in good order (SIGTERM). Its data stays.
func (s *Server) Stop(ctx context.Context) error { return s.engine.stop(ctx, s.container) }

// Kill ends the server at once (SIGKILL), as a crash would. Its data stays.
func (s *Server) Kill(ctx context.Context) error { return s.engine.kill(ctx, s.container) }

// Restart stops the server if it runs, starts it on the same port and data, and
// returns once it serves again.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.begin(ctx)
}

// Pause freezes the server's process. The kernel goes on accepting connections
// and acknowledging bytes on its behalf, but nobody answers.
func (s *Server) Pause(ctx context.Context) error { return s.engine.pause(ctx, s.container) }

// Unpause lets a paused server go on where it was.
func (s *Server) Unpause(ctx context.Context) error { return s.engine.unpause(ctx, s.container) }

// FourLetter sends one of ZooKeeper's four-letter commands, such as "srvr" or
// "cons", and returns the answer.
func (s *Server) FourLetter(ctx context.Context, word string) (string, error) {
	return FourLetterAt(ctx, s.addr, word)
}

// Mode is "leader" (also of a server that stands alone) or "follower", or an
// error while it does not serve.
func (s *Server) Mode(ctx context.Context) (string, error) {
	answer, err := s.FourLetter(ctx, "srvr")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if mode, ok := strings.CutPrefix(line, "Mode: "); ok {
			return strings.TrimSpace(mode), nil
		}
	}
	return "", fmt.Errorf("zktest: %s does not serve: %q", s.addr, answer)
}

// Version is what the server says it is, such as "3.9.3".
func (s *Server) Version(ctx context.Context) (string, error) {
	answer, err := s.FourLetter(ctx, "srvr")
	if err != nil {
		return "", err
	}
	text, ok := strings.CutPrefix(answer, "Zookeeper version: ")
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && !unicode.IsDigit(r) })
	if !ok || end <= 0 {
		return "", fmt.Errorf("zktest: %s does not say its version: %q", s.addr, answer)
	}
	return text[:end], nil
}

// Logs returns the end of what the server wrote, for the message of a failed test.
func (s *Server) Logs(ctx context.Context) string { return s.engine.logs(ctx, s.container) }

// Close removes the container and its data. A second call returns what the first did.
func (s *Server) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		s.closeErr = s.engine.remove(ctx, s.container)
	})
	return s.closeErr
}

// waitServing polls until the server answers srvr with its mode. An open port
// proves nothing: the engine's own proxy accepts before the server listens, and
// the server listens before it serves.
func (s *Server) waitServing(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := poll(ctx, func(ctx context.Context) error {
		_, err := s.modeOnce(ctx)
		if err != nil && !s.engine.running(ctx, s.container) {
			cancel(errors.New("zktest: the server ended by itself"))
		}
		return err
	})
	if err == nil {
		return nil
	}
	logs := s.Logs(context.WithoutCancel(ctx))
	return fmt.Errorf("zktest: server %s did not come up: %w\n%s", s.addr, errors.Join(context.Cause(ctx), err), logs)
}

// modeOnce bounds one look: a connection that was accepted by the engine's
// proxy for a server that is not there yet may never be answered.
func (s *Server) modeOnce(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.Mode(ctx)
}
