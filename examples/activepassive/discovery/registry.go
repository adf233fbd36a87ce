package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// Registry is a registry of services, seen over an election's client. It is made by [New]
// and is safe for concurrent use.
type Registry struct {
	client *election.Client
	chroot string
	log    *slog.Logger
}

// New returns the registry that client reaches, and sends nothing. connect is client's connect
// string: [election.Client.Do] uses full paths, so the chroot at its end is needed. If log
// is nil, nothing is logged.
func New(client *election.Client, connect string, log *slog.Logger) *Registry {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Registry{client: client, log: log}
	if i := strings.IndexByte(connect, '/'); i >= 0 {
		r.chroot = strings.TrimSuffix(connect[i:], "/")
	}
	return r
}

// makePath creates path and the znodes above it. They are persistent.
func makePath(conn *zk.Conn, path string) error {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		_, err := conn.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("make %s: %w", path[:i], err)
		}
	}
	return nil
}
