package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election/internal/interop"
)

// peerEnv is the environment variable that makes this program serve as a participant.
const peerEnv = "SIDEBYSIDE_PEER"

// peerSetup says what a peer is. It comes as JSON.
type peerSetup struct {
	Contender string
	Server    string        // host:port
	Timeout   time.Duration // of its session or lease
}

// part is a participation in one election.
type part interface {
	// join enters the election. It may return before it leads, or block until then. It
	// calls note.leads when the user would see that it leads.
	join() error
	// leave gives leadership up and returns when that is done.
	leave() error
}

// asker is a part that can be asked whether it leads.
type asker interface{ asksLeads() bool }

// library is one session or connection to the store, and makes parts on it.
type library interface {
	part(id, path string, note *note) part
}

// libraries connects, by contender.
var libraries = map[string]func(peerSetup) (library, error){
	"bare": connectBare,
	"lock": connectLock,
	"etcd": connectEtcd,
	"ours": connectOurs(0),
	"fast": connectOurs(fastWithin),
}

// fastWithin is the time of WithFastFailover.
const fastWithin = time.Second

// peerMain connects, says "ready" and obeys commands until the input ends.
func peerMain(text string) int {
	var setup peerSetup
	err := json.Unmarshal([]byte(text), &setup)
	var lib library
	if err == nil {
		lib, err = libraries[setup.Contender](setup)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := &peer{library: lib, out: os.Stdout, parts: map[string]*member{}}
	p.say(interop.Now(), "-", "ready", "")
	p.serve(os.Stdin)
	return 0
}

// peer obeys commands: "join ID PATH", "pass ID PATH" (join, and leave as soon as it
// leads), "leave ID" and "poll ID". It writes an event a line: "NANOSECONDS ID WHAT TEXT".
type peer struct {
	library
	mu    sync.Mutex // guards the following
	out   io.Writer
	parts map[string]*member
}

// member is a part with what the peer knows of it.
type member struct {
	part
	note *note
}

// note takes what happens to a part.
type note struct {
	peer   *peer
	id     string
	passes bool // leaves as soon as it leads
	joined int64
}

// leads says when it leads, and when it was told to join.
func (n *note) leads() {
	now := interop.Now()
	if n.passes {
		go n.peer.leave(n.id) // first, because writing takes time
	}
	n.peer.say(now, n.id, "leads", fmt.Sprint(n.joined))
}

// lost says that the library has notified its user that it does not lead any more.
func (n *note) lost(why string) { n.peer.say(interop.Now(), n.id, "lost", why) }

func (p *peer) say(at int64, id, what, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, strings.TrimSpace(fmt.Sprint(at, " ", id, " ", what, " ", strings.ReplaceAll(text, "\n", " "))))
}

func (p *peer) serve(in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		switch id := words[1]; words[0] {
		case "join", "pass":
			n := &note{peer: p, id: id, passes: words[0] == "pass"}
			m := &member{p.library.part(id, words[2], n), n}
			p.mu.Lock()
			p.parts[id] = m
			p.mu.Unlock()
			go p.join(m)
		case "leave":
			go p.leave(id)
		case "poll":
			go p.poll(id)
		}
	}
}

func (p *peer) join(m *member) {
	m.note.joined = interop.Now()
	if err := m.join(); err != nil {
		p.say(interop.Now(), m.note.id, "error", "join: "+err.Error())
	}
}

func (p *peer) find(id string) *member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts[id]
}

// leave says "left" when it is done, with the time right before the call.
func (p *peer) leave(id string) {
	m := p.find(id)
	if m == nil {
		p.say(interop.Now(), id, "error", "leave: has not joined")
		return
	}
	began := interop.Now()
	err := m.leave()
	if err != nil {
		p.say(interop.Now(), id, "error", "leave: "+err.Error())
	}
	p.say(interop.Now(), id, "left", fmt.Sprint(began))
}

// pollEvery is how often a part that can be asked is asked.
const pollEvery = 2 * time.Millisecond

// poll asks again and again, and says each change: "yes" with the time of the look, and
// "no" with the time before the last look at which it led.
func (p *peer) poll(id string) {
	m := p.find(id)
	if m == nil {
		return
	}
	a, ok := m.part.(asker)
	if !ok {
		return
	}
	var last int64
	led := false
	for tick := time.NewTicker(pollEvery); ; <-tick.C {
		at := interop.Now()
		leads := a.asksLeads()
		switch {
		case leads && !led:
			p.say(at, id, "yes", "")
		case !leads && led:
			p.say(interop.Now(), id, "no", fmt.Sprint(last))
		}
		if led = leads; leads {
			last = at
		}
	}
}

// errNotHeld is returned by leave if there is nothing to leave.
var errNotHeld = errors.New("has not entered the election")

// within bounds calls that should not take long.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}
