package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
)

const servers = 3

// The elections of a run. The candidates of each are of one kind, or of two that go together.
var elections = []struct {
	name  string
	kinds []string
	java  bool
}{
	{"plain", []string{kindPlain, kindPlain, kindHold}, false},
	{"fast", []string{kindFast, kindFast, kindFastHold}, false},
	{"strict", []string{kindStrict, kindStrict}, false},
	{"mixed", []string{kindPlain, kindHold}, true},
}

// member is a candidate's place: the process that has it now, and its links to the servers.
type member struct {
	setup
	name  string // of the place; the processes there are name#1, name#2, …
	born  int
	links []*zktest.Proxy
	child *process.Process
	busy  bool // a fault has it
}

// cluster has the servers, the candidates' processes and the register of a run.
type cluster struct {
	options
	log      *Log
	rng      *rand.Rand
	ensemble *zktest.Ensemble
	registry *Register
	members  []*member
	java     *javaMember // nil without
	down     [servers]bool
	faults   int64 // so far
	disk     string
}

func (c *cluster) launch(ctx context.Context) (err error) {
	if c.registry, err = OpenRegister(c.dir); err != nil {
		return err
	}
	if err = c.launchServers(ctx); err != nil {
		return err
	}
	for _, e := range elections { // before all others, which would compete with the compiler for processors
		if e.java && c.withJava {
			c.java = &javaMember{cluster: c, election: e.name}
			if c.java.links, err = c.link(); err == nil {
				err = c.java.start(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, e := range elections {
		for i, kind := range e.kinds {
			name := fmt.Sprintf("%s-%d", e.name, i+1)
			m := &member{name: name, setup: setup{Kind: kind, Election: e.name, Registry: c.registry.Addr(), Timeout: c.timeout, Within: c.within}}
			if m.links, err = c.link(); err != nil {
				return err
			}
			c.members = append(c.members, m)
			if err = c.start(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// launchServers starts an ensemble without data. Its disk is fast or slow by chance.
func (c *cluster) launchServers(ctx context.Context) (err error) {
	disk := []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond}[c.rng.IntN(3)]
	c.disk = fmt.Sprintf("disk %v slower", disk)
	c.ensemble, err = zktest.LaunchEnsemble(ctx, servers, zktest.WithSlowDisk(disk))
	return err
}

// link makes a proxy to each server.
func (c *cluster) link() (links []*zktest.Proxy, err error) {
	for _, s := range c.ensemble.Servers() {
		p, err := zktest.ListenProxy(s.Addr())
		if err != nil {
			return links, err
		}
		links = append(links, p)
	}
	return links, nil
}

func connectString(links []*zktest.Proxy) string {
	var addrs []string
	for _, l := range links {
		addrs = append(addrs, l.Addr())
	}
	return strings.Join(addrs, ",")
}

// start starts a process at a member's place.
func (c *cluster) start(m *member) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m.born++
	m.Who, m.Connect, m.Seed = fmt.Sprintf("%s#%d", m.name, m.born), connectString(m.links), c.rng.Uint64()
	text, err := json.Marshal(m.setup)
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), candidateEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	who := m.Who
	out := process.Split(func(line string) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			e = Event{At: interop.Now(), Who: who, What: saysProblem, Text: line}
		}
		c.log.Add(e)
	})
	cmd.Stdout = out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if m.child, err = process.Start(cmd, out.End, func() { _ = stdin.Close() }); err != nil {
		return err
	}
	c.log.Add(Event{At: interop.Now(), Who: who, What: saysStarted, Election: m.Election, Text: m.Kind})
	return nil
}

// kill ends a member's process and returns when all that it said is in the log.
func (c *cluster) kill(m *member) error {
	if err := m.child.Kill(); err != nil {
		return err
	}
	<-m.child.Done()
	c.log.Add(Event{At: interop.Now(), Who: m.Who, What: saysKilled, Election: m.Election})
	return nil
}

// with calls f with a connection of its own to the servers.
func (c *cluster) with(ctx context.Context, f func(context.Context, *election.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := election.Connect(ctx, c.ensemble.ConnectString(), election.WithSessionTimeout(c.timeout), election.WithClientLogger(silent))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, client), client.Close())
}

// wiped moves all links to the servers of a new ensemble.
func (c *cluster) wiped() {
	all := [][]*zktest.Proxy{}
	for _, m := range c.members {
		all = append(all, m.links)
	}
	if c.java != nil {
		all = append(all, c.java.links)
	}
	for _, links := range all {
		for i, l := range links {
			l.SetTarget(c.ensemble.Servers()[i].Addr())
		}
	}
}

// orphans compares the znodes of each election with the candidates that should have one.
func (c *cluster) orphans(ctx context.Context) (wrong []string, err error) {
	for _, e := range elections {
		var want, got []string
		for _, m := range c.members {
			if m.Election == e.name {
				want = append(want, m.Who)
			}
		}
		if c.java != nil && e.java {
			want = append(want, c.java.who)
		}
		err := c.with(ctx, func(ctx context.Context, client *election.Client) error {
			all, err := client.Participants(ctx, "/chaos/"+e.name)
			for _, p := range all {
				got = append(got, p.ID)
			}
			return err
		})
		if err != nil && !errors.Is(err, election.ErrNoLeader) && !errors.Is(err, zk.ErrNoNode) {
			return nil, err
		}
		if text := sameLine(want, got); text != "" {
			wrong = append(wrong, e.name+": "+text)
		}
	}
	return wrong, nil
}

// close ends all processes, and removes all servers.
func (c *cluster) close() error {
	var errs []error
	for _, m := range c.members {
		if m.child != nil {
			errs = append(errs, m.child.Kill())
			<-m.child.Done()
		}
	}
	if c.java != nil {
		errs = append(errs, c.java.close())
	}
	for _, m := range c.members {
		for _, l := range m.links {
			errs = append(errs, l.Close())
		}
	}
	if c.registry != nil {
		errs = append(errs, c.registry.Close())
	}
	if c.ensemble != nil {
		errs = append(errs, c.ensemble.Close())
	}
	return errors.Join(errs...)
}
