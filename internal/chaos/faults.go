package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/zktest"
)

// harm is a fault that has begun: whom it hits, and how it ends.
type harm struct {
	who  string
	undo func(context.Context) error // nil: it ends by itself
}

// fault is a kind of harm.
type fault struct {
	name  string
	alone bool // at no time together with another
	begin func(context.Context, *cluster) (harm, error)
}

// faults are all kinds. Only in the strict election are znodes deleted and sessions ended by
// hand. The others have an exception for that in guarantee G1.
var faults = []fault{
	{"candidate killed", false, killCandidate},
	{"candidate stopped", false, stopCandidate},
	{"candidate cut off", false, cutCandidate((*zktest.Proxy).Cut)},
	{"candidate cut off both ways without a word", false, cutCandidate((*zktest.Proxy).Blackhole)},
	{"candidate cut off one way", false, cutCandidate((*zktest.Proxy).StallReplies)},
	{"LeaderLatch killed", false, killJava},
	{"LeaderLatch cut off", false, cutJava},
	{"server killed", false, killServer},
	{"server stopped", false, stopServer},
	{"server cut off from its peers", false, cutServer},
	{"server cut off from clients both ways", true, cutClients((*zktest.Proxy).Blackhole)},
	{"server cut off from clients one way", true, cutClients((*zktest.Proxy).StallReplies)},
	{"rolling restart", true, rollingRestart},
	{"session ended by force", false, endSession},
	{"leader's znode deleted", false, deleteLeader},
	{"election path deleted", false, deletePath},
	{"data wiped", true, wipe},
}

// pick draws a member without a fault. In two of three cases it is a leader, if there is one.
func (c *cluster) pick(election string) *member {
	var all, leaders []*member
	for _, m := range c.members {
		if m.busy || election != "" && m.Election != election {
			continue
		}
		all = append(all, m)
		if c.log.Leads(m.Who) {
			leaders = append(leaders, m)
		}
	}
	if len(leaders) > 0 && c.rng.IntN(3) > 0 {
		all = leaders
	}
	return all[c.rng.IntN(len(all))] // at most two have a fault
}

func killCandidate(_ context.Context, c *cluster) (harm, error) {
	m := c.pick("")
	m.busy = true
	err := c.kill(m)
	return harm{m.Who, func(context.Context) error {
		m.busy = false
		return c.start(m)
	}}, err
}

func stopCandidate(_ context.Context, c *cluster) (harm, error) {
	m := c.pick("")
	m.busy = true
	err := m.child.Pause()
	return harm{m.Who, func(context.Context) error {
		m.busy = false
		return m.child.Resume()
	}}, err
}

func cutCandidate(how func(*zktest.Proxy)) func(context.Context, *cluster) (harm, error) {
	return func(_ context.Context, c *cluster) (harm, error) {
		m := c.pick("")
		m.busy = true
		each(m.links, how)
		return harm{m.Who, func(context.Context) error {
			m.busy = false
			each(m.links, (*zktest.Proxy).Heal)
			return nil
		}}, nil
	}
}

func each(links []*zktest.Proxy, do func(*zktest.Proxy)) {
	for _, l := range links {
		do(l)
	}
}

func killJava(_ context.Context, c *cluster) (harm, error) {
	j := c.java
	if j == nil || j.busy {
		return harm{}, errNone
	}
	j.busy = true
	return harm{j.who, func(ctx context.Context) error {
		j.busy = false
		return j.start(ctx)
	}}, j.kill()
}

func cutJava(_ context.Context, c *cluster) (harm, error) {
	j := c.java
	if j == nil || j.busy {
		return harm{}, errNone
	}
	j.busy = true
	each(j.links, (*zktest.Proxy).Cut)
	return harm{j.who, func(context.Context) error {
		j.busy = false
		each(j.links, (*zktest.Proxy).Heal)
		return nil
	}}, nil
}

// server draws a server without a fault. Two may have one at the same time, and then no server serves.
func (c *cluster) server() (i int, up func()) {
	for {
		if i = c.rng.IntN(servers); !c.down[i] {
			c.down[i] = true
			return i, func() { c.down[i] = false }
		}
	}
}

func serverName(i int) string { return fmt.Sprintf("server-%d", i+1) }

// onServer makes a fault of a server from two methods.
func onServer(c *cluster, ctx context.Context, begin, end func(*zktest.Ensemble, context.Context, int) error) (harm, error) {
	i, up := c.server()
	err := begin(c.ensemble, ctx, i)
	return harm{serverName(i), func(ctx context.Context) error {
		up()
		return end(c.ensemble, ctx, i)
	}}, err
}

func killServer(ctx context.Context, c *cluster) (harm, error) {
	return onServer(c, ctx, func(e *zktest.Ensemble, ctx context.Context, i int) error { return e.Servers()[i].Kill(ctx) },
		func(e *zktest.Ensemble, ctx context.Context, i int) error { return e.Servers()[i].Restart(ctx) })
}

func stopServer(ctx context.Context, c *cluster) (harm, error) {
	return onServer(c, ctx, func(e *zktest.Ensemble, ctx context.Context, i int) error { return e.Servers()[i].Pause(ctx) },
		func(e *zktest.Ensemble, ctx context.Context, i int) error { return e.Servers()[i].Unpause(ctx) })
}

func cutServer(ctx context.Context, c *cluster) (harm, error) {
	return onServer(c, ctx, (*zktest.Ensemble).CutPeers, (*zktest.Ensemble).HealPeers)
}

// cutClients cuts a server off from all candidates, but not from its peers.
func cutClients(how func(*zktest.Proxy)) func(context.Context, *cluster) (harm, error) {
	return func(_ context.Context, c *cluster) (harm, error) {
		i := c.rng.IntN(servers)
		for _, m := range c.members {
			how(m.links[i])
		}
		return harm{serverName(i), func(context.Context) error {
			for _, m := range c.members {
				m.links[i].Heal()
			}
			return nil
		}}, nil
	}
}

func rollingRestart(ctx context.Context, c *cluster) (harm, error) {
	for _, s := range c.ensemble.Servers() {
		if err := s.Restart(ctx); err != nil {
			return harm{}, err
		}
	}
	return harm{who: "servers"}, nil
}

// byHand bounds what an operator does while other faults may have left no server that serves.
const byHand = 5 * time.Second

// strictElection is the one in which znodes are deleted and sessions are ended by hand.
const strictElection = "strict"

func endSession(ctx context.Context, c *cluster) (harm, error) {
	ctx, cancel := context.WithTimeout(ctx, byHand)
	defer cancel()
	m := c.pick(strictElection)
	var errs []error
	for _, l := range m.links {
		if len(l.Sessions()) == 0 {
			continue
		}
		err := l.ExpireSession(ctx)
		if err == nil {
			return harm{who: m.Who}, nil
		}
		errs = append(errs, err)
	}
	return harm{who: m.Who}, errors.Join(append(errs, errNone)...)
}

func deleteLeader(ctx context.Context, c *cluster) (harm, error) { return deleteZnodes(ctx, c, false) }
func deletePath(ctx context.Context, c *cluster) (harm, error)   { return deleteZnodes(ctx, c, true) }

// deleteZnodes deletes the leader's znode, or all of them and the path.
func deleteZnodes(ctx context.Context, c *cluster, all bool) (harm, error) {
	ctx, cancel := context.WithTimeout(ctx, byHand)
	defer cancel()
	path, who := setup{Election: strictElection}.path(), strictElection
	err := c.with(ctx, func(ctx context.Context, client *election.Client) error {
		line, err := client.Participants(ctx, path)
		if err != nil {
			return err
		}
		if !all {
			line, who = line[:1], line[0].ID
		}
		return client.Do(ctx, func(conn *zk.Conn) error {
			for _, p := range line {
				if err := conn.Delete(p.Path, -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
					return err
				}
			}
			if !all {
				return nil
			}
			err := conn.Delete(path, -1)
			if errors.Is(err, zk.ErrNotEmpty) { // a candidate is back already
				return nil
			}
			return err
		})
	})
	if err != nil {
		err = errors.Join(err, errNone)
	}
	return harm{who: who}, err
}

// errNone means that there was nobody to harm, or no server that could be asked to. The run goes on.
var errNone = errors.New("chaos: the fault could not be made")

// wipe removes all servers with their data, and starts others without data. Between the two, no server is up for a
// session timeout, as the documentation asks of operators: all leaders have ceased to lead when tokens begin again.
// LeaderLatch's client never comes back from that by itself, so its process is replaced.
func wipe(ctx context.Context, c *cluster) (harm, error) {
	if c.java != nil {
		if err := c.java.kill(); err != nil {
			return harm{}, err
		}
	}
	err := c.ensemble.Close()
	c.ensemble = nil
	if err != nil {
		return harm{}, err
	}
	down := time.NewTimer(c.timeout)
	defer down.Stop()
	select {
	case <-down.C:
	case <-ctx.Done():
		return harm{}, ctx.Err()
	}
	c.log.Add(Event{At: interop.Now(), Who: "servers", What: saysWiped, Gen: c.registry.Wipe()})
	if err := c.launchServers(ctx); err != nil {
		return harm{}, err
	}
	c.wiped()
	if c.java != nil {
		return harm{who: "servers"}, c.java.start(ctx)
	}
	return harm{who: "servers"}, nil
}
