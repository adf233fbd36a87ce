package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
)

// candidateEnv makes this binary take part in an election: see candidateMain.
const candidateEnv = "CHAOS_CANDIDATE"

// Kinds of candidates.
const (
	kindPlain    = "plain"     // Start, and listeners
	kindHold     = "hold"      // Run, and work that holds the term
	kindFast     = "fast"      // WithFastFailover
	kindFastHold = "fast hold" // both
	kindStrict   = "strict"    // WithStrictHandover
)

// setup is what the judge tells a candidate's process, as JSON in candidateEnv.
type setup struct {
	Who      string        `json:"who"`
	Kind     string        `json:"kind"`
	Election string        `json:"election"`
	Connect  string        `json:"connect"`
	Registry string        `json:"registry"` // address of the judge's register
	Timeout  time.Duration `json:"timeout"`
	Within   time.Duration `json:"within"` // of fast failover
	Seed     uint64        `json:"seed"`
}

func (s setup) path() string { return "/chaos/" + s.Election }

func (s setup) holds() bool { return strings.HasSuffix(s.Kind, kindHold) }

func (s setup) options() []election.Option {
	opts := []election.Option{election.WithID(s.Who)}
	if strings.HasPrefix(s.Kind, kindFast) {
		opts = append(opts, election.WithFastFailover(s.Within))
	}
	if s.Kind == kindStrict {
		opts = append(opts, election.WithStrictHandover())
	}
	if s.holds() {
		opts = append(opts, election.WithRequeue(100*time.Millisecond, time.Second))
	}
	return opts
}

// Between two looks at whether it leads, and between two lines that say so.
const (
	lookEvery = 2 * time.Millisecond
	sayEvery  = 100 * time.Millisecond
	longGap   = 100 * time.Millisecond // what a process without a pause hardly ever needs between two looks
)

// contender is a candidate in its own process.
type contender struct {
	setup
	client *election.Client
	cand   *election.Candidate
	ops    chan int64 // numbers for writes

	mu  sync.Mutex // guards the following
	out io.Writer
	rng *rand.Rand
}

// candidateMain takes part until it is killed or its input ends, which it does when the judge ends.
func candidateMain(text string) int {
	c := &contender{out: os.Stdout, ops: make(chan int64)}
	if err := json.Unmarshal([]byte(text), &c.setup); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c.rng = rand.New(rand.NewPCG(c.Seed, 0))
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
		os.Exit(0)
	}()
	go func() {
		for n := int64(1); ; n++ {
			c.ops <- n
		}
	}()
	if err := c.join(); err != nil {
		fmt.Fprintln(os.Stderr, c.Who, "cannot take part:", err)
		return 1
	}
	c.lookOn()
	return 0
}

// join opens the client without waiting for a server, since there may be none just now.
func (c *contender) join() (err error) {
	log := slog.New(slog.NewTextHandler(evictions{c}, nil))
	c.client, err = election.Open(c.Connect, election.WithSessionTimeout(c.Timeout), election.WithClientLogger(log))
	if err != nil {
		return err
	}
	opts := append(c.options(), election.WithListener(election.ListenerFuncs{OnIsLeader: c.isLeader, OnNotLeader: c.notLeader}))
	c.cand, err = election.NewCandidate(c.client, c.path(), opts...)
	if err != nil {
		return err
	}
	go func() {
		err := c.takePart(context.Background())
		c.say(Event{What: saysProblem, Text: fmt.Sprint("takes no part any more: ", err)})
	}()
	return nil
}

// takePart returns only if the candidate cannot take part any more.
func (c *contender) takePart(ctx context.Context) error {
	if c.holds() {
		return c.cand.Run(ctx, c.lead)
	}
	if err := c.cand.Start(ctx); err != nil {
		return err
	}
	select {}
}

// evictions is where the log goes. It looks for one line: that of a leader removed by fast failover.
type evictions struct{ c *contender }

func (e evictions) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "was silent and was removed") {
		e.c.say(Event{What: saysEvicted})
	}
	return len(line), nil
}

// say writes an event. It sets the time unless the event has one.
func (c *contender) say(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Who, e.Election = c.Who, c.Election
	if e.At == 0 {
		e.At = interop.Now()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = c.out.Write(append(line, '\n'))
	}
	if err != nil {
		os.Exit(1) // nobody listens any more
	}
}

// between returns a random time.
func (c *contender) between(least, most time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return least + time.Duration(c.rng.Int64N(int64(most-least)))
}

func (c *contender) isLeader(t *election.Term) {
	c.say(Event{What: saysBegan, Token: Token(t.Token())})
	if !c.holds() {
		go c.workAndResign(t)
	}
}

func (c *contender) notLeader(t *election.Term) {
	c.say(Event{What: saysEnded, Token: Token(t.Token()), Text: fmt.Sprint(t.Err())})
}

// lookOn looks whether the candidate leads, for ever. Everything is said of a moment at
// which it led for certain: after the first look, and before the last one.
func (c *contender) lookOn() {
	tick := time.NewTicker(lookEvery)
	var token Token
	led, believed, said, last := false, int64(0), int64(0), interop.Now()
	for ; ; <-tick.C {
		before := interop.Now()
		leads := c.cand.HasLeadership()
		after := interop.Now()
		if before-last > int64(longGap) {
			c.say(Event{What: saysGap, At: last, Until: before})
			// The candidate may have led before and after the gap, but not all the time.
			if led {
				c.say(Event{What: saysLost, At: believed, Token: token})
				led = false
			}
		}
		switch {
		case leads && !led:
			term := c.cand.Term()
			if term == nil {
				leads = false // it has just ended
				break
			}
			token = Token(term.Token())
			c.say(Event{What: saysGained, At: after, Token: token, Until: monotonic(term.Deadline())})
			said = after
		case !leads && led:
			c.say(Event{What: saysLost, At: believed, Token: token})
		case leads && before-said > int64(sayEvery):
			if term := c.cand.Term(); term != nil && Token(term.Token()) == token {
				c.say(Event{What: saysBelieves, At: before, Token: token, Until: monotonic(term.Deadline())})
				said = before
			}
		}
		if leads {
			believed = before
		}
		led, last = leads, before
	}
}

// monotonic returns a time on the clock of interop.Now.
func monotonic(t time.Time) int64 { return interop.Now() + int64(time.Until(t)) }

// How long a term lasts at most: then the candidate resigns, so that a run has many terms.
const leastTerm, mostTerm = 2 * time.Second, 10 * time.Second

// workAndResign is the work of a candidate that is not under Run.
func (c *contender) workAndResign(t *election.Term) {
	w := c.write(t, c.between(leastTerm, mostTerm))
	if t.Err() == nil {
		c.say(Event{What: saysResigns, Token: Token(t.Token()), Until: monotonic(t.Deadline())})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.cand.Resign(ctx); err != nil {
			c.say(Event{What: saysProblem, Text: fmt.Sprint("resign: ", err)})
		}
	}
	w.writeLate()
}

// lead is the function under Run. It returns before the work does, so that the hold alone
// keeps the znode in place.
func (c *contender) lead(ctx context.Context, t *election.Term) error {
	release, err := t.Hold()
	if err != nil {
		return nil // the term is over already
	}
	length, token := c.between(leastTerm, mostTerm), Token(t.Token())
	go func() {
		c.say(Event{What: saysWorks, Token: token})
		w := c.write(t, 2*mostTerm)
		time.Sleep(c.between(time.Millisecond, 200*time.Millisecond)) // work takes a moment to stop
		c.say(Event{What: saysStopped, Token: token})
		release()
		w.writeLate()
	}()
	end := time.NewTimer(length)
	defer end.Stop()
	select {
	case <-ctx.Done():
	case <-end.C:
		if t.Err() == nil {
			c.say(Event{What: saysResigns, Token: token, Until: monotonic(t.Deadline())})
		}
	}
	if err := context.Cause(ctx); err != nil && errors.Is(err, election.ErrClosed) {
		return err
	}
	return nil
}
