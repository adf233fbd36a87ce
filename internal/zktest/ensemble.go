package zktest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// Ensemble is several servers that elect a leader among them. Each is on two
// networks: the engine's common one, where its client port is published, and
// one where it meets its peers and nobody else, so that it can lose its peers
// and keep its clients.
type Ensemble struct {
	servers []*Server
	engine  *engine
	peers   peers // the network on which they meet
}

// StartEnsemble launches n servers for tb, as Start does one.
func StartEnsemble(tb testing.TB, n int, opts ...Option) *Ensemble {
	tb.Helper()
	SkipIfShort(tb, aServer)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	e, err := LaunchEnsemble(ctx, n, opts...)
	if err != nil {
		tb.Fatalf("%v\n\n%s", err, prerequisites)
	}
	tb.Cleanup(func() { closeFor(tb, e.Close) })
	return e
}

// LaunchEnsemble starts n servers, and returns once all of them serve. The
// caller must Close the ensemble.
func LaunchEnsemble(ctx context.Context, n int, opts ...Option) (*Ensemble, error) {
	if n < 1 || n > maxPeers {
		return nil, fmt.Errorf("zktest: an ensemble of %d: want 1 to %d", n, maxPeers)
	}
	docker, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	e := &Ensemble{engine: docker, servers: make([]*Server, n)}
	if e.peers, err = docker.makeNetwork(ctx, peerBits); err != nil {
		return nil, err
	}
	err = e.each(func(i int) (err error) {
		e.servers[i], err = e.create(ctx, i, opts)
		return err
	})
	if err == nil { // none starts before all exist, or the first would wait for the last
		err = e.each(func(i int) error { return e.servers[i].begin(ctx) })
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// each calls f for every server at the same time.
func (e *Ensemble) each(f func(i int) error) error {
	errs := make([]error, len(e.servers))
	var work sync.WaitGroup
	for i := range e.servers {
		work.Go(func() { errs[i] = f(i) })
	}
	work.Wait()
	return errors.Join(errs...)
}

func (e *Ensemble) create(ctx context.Context, i int, opts []Option) (*Server, error) {
	opts = append(e.peerOptions(i), opts...)
	return create(ctx, newSettings(opts), func(id string) error { return e.join(ctx, i, id) })
}

// peerOptions tell server i who its peers are.
func (e *Ensemble) peerOptions(i int) []Option {
	opts := []Option{
		func(s *settings) { s.id = i + 1 },
		WithConfig("standaloneEnabled", "false"), // an ensemble of one is one too
		// Listening on one address fails while its network is cut off, and is not tried for ever.
		WithConfig("quorumListenOnAllIPs", "true"),
	}
	for peer := range e.servers {
		opts = append(opts, WithConfig(fmt.Sprintf("server.%d", peer+1), e.peerAddr(peer).String()+":2888:3888"))
	}
	return opts
}

// Servers returns them in order. Server i has the number i+1 in ZooKeeper's own words.
func (e *Ensemble) Servers() []*Server { return e.servers }

// ConnectString lists the client ports of all servers.
func (e *Ensemble) ConnectString() string {
	addrs := make([]string, len(e.servers))
	for i, s := range e.servers {
		addrs[i] = s.Addr()
	}
	return strings.Join(addrs, ",")
}

// Leader waits until exactly one server says that it leads, and returns its
// index. A leader that was cut off says so until it notices, and there may be
// another one by then; hence the wait.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	leader := -1
	err := poll(ctx, func(ctx context.Context) error {
		var leaders []int
		for i, s := range e.servers {
			if mode, err := s.modeOnce(ctx); err == nil && mode == "leader" {
				leaders = append(leaders, i)
			}
		}
		if len(leaders) != 1 {
			return fmt.Errorf("zktest: leaders of the ensemble: %v", leaders)
		}
		leader = leaders[0]
		return nil
	})
	return leader, err
}

// CutPeers takes server i off the network of its peers. It goes on serving its
// clients until it notices, after syncLimit at most, and is told nothing before.
func (e *Ensemble) CutPeers(ctx context.Context, i int) error {
	return e.engine.cut(ctx, e.member(i, e.servers[i].container))
}

// HealPeers undoes CutPeers. The server has its old address among its peers.
func (e *Ensemble) HealPeers(ctx context.Context, i int) error {
	return e.join(ctx, i, e.servers[i].container)
}

func (e *Ensemble) join(ctx context.Context, i int, container string) error {
	return e.engine.join(ctx, e.member(i, container))
}

func (e *Ensemble) member(i int, container string) member {
	return member{Network: e.peers.Network, Container: container, Address: e.peerAddr(i)}
}

// Close removes all servers and their network.
func (e *Ensemble) Close() error {
	err := e.each(func(i int) error {
		if e.servers[i] == nil { // it was never made
			return nil
		}
		return e.servers[i].Close()
	})
	if e.peers.Network == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	netErr := e.engine.removeNetwork(ctx, e.peers.Network)
	e.peers.Network = ""
	return errors.Join(err, netErr)
}

// The peers' addresses are fixed: ZooKeeper and Java remember them.
const (
	peerBits = 28
	maxPeers = 1<<(32-peerBits) - 3 // without the network's own address, its gateway and the broadcast
)

// peerAddr is where server i meets its peers.
func (e *Ensemble) peerAddr(i int) netip.Addr {
	a := e.peers.Subnet.Addr().As4()
	a[3] += byte(i) + 2 // .0 is the network, .1 its gateway
	return netip.AddrFrom4(a)
}
