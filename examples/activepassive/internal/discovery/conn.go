// Package discovery is a registry of services in ZooKeeper, in the format of Apache Curator's curator-x-discovery:
// one ephemeral znode <base>/<service>/<uuid> for each instance, a JSON ServiceInstance as its data. Java's
// ServiceDiscovery reads what this package writes, and the other way round.
package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
)

// Conn is a ZooKeeper session for registrations and watches. It is not the session of the election: that one is the
// election client's, which lends it to nobody. The registry gets by with that, see Registration.Claim.
type Conn struct {
	zk       *zk.Conn
	root     string        // the chroot of the connect string
	sessions chan struct{} // rung when a session begins or is resumed; one reader
}

// Dial begins to connect to "host:port,host:port/chroot" and returns at once. Every call waits, or fails and may be
// tried again, until there is a server.
func Dial(connect string, sessionTimeout time.Duration, log *slog.Logger) (*Conn, error) {
	hosts, root, _ := strings.Cut(connect, "/")
	if root != "" {
		root = "/" + root
	}
	c := &Conn{root: root, sessions: make(chan struct{}, 1)}
	conn, _, err := zk.Connect(strings.Split(hosts, ","), sessionTimeout,
		zk.WithDialer(session.Guarded(net.DialTimeout)), // works without, but for a data race of the driver's
		zk.WithLogger(driverLog{log}), zk.WithEventCallback(c.onEvent))
	if err != nil {
		return nil, fmt.Errorf("connect to %q: %w", connect, err)
	}
	c.zk = conn
	return c, nil
}

// onEvent runs on the driver's goroutine and must not block.
func (c *Conn) onEvent(ev zk.Event) {
	if ev.Type == zk.EventSession && ev.State == zk.StateHasSession {
		ring(c.sessions)
	}
}

// Close ends the session, and with it what was registered. It takes a second at most.
func (c *Conn) Close() { c.zk.Close() }

// makePath makes the znodes of path, as a whole tree that stays.
func (c *Conn) makePath(path string) error {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		_, err := c.zk.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("make %s: %w", path[:i], err)
		}
	}
	return nil
}

// ring leaves a sign that something changed. One is enough, however much changed.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// driverLog passes on what the driver says, which repeats itself a lot while there is no server.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Printf(format string, args ...any) {
	l.log.Debug("zookeeper driver", "says", fmt.Sprintf(format, args...))
}
