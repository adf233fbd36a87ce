package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election"
)

// peerEnv is the environment variable that tells a program which calls Main to serve as a
// process of our participants.
const peerEnv = "ELECTION_INTEROP_PEER"

// Main is for TestMain. It runs m, such as [testing.M.Run], and returns the exit code. If
// this process was started as an [Ours] program, Main serves as that program instead,
// until its input ends.
func Main(m func() int) int {
	args := strings.Split(os.Getenv(peerEnv), " ")
	if len(args) == 5 {
		serve(args, os.Stdin, os.Stdout)
		return 0
	}
	code := m()
	if err := removeWorkspace(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// ours runs our participants. Each has a client, and so a session, of its own.
type ours struct {
	connect string
	timeout time.Duration
	options []election.Option

	mu       sync.Mutex // guards the following
	out      io.Writer
	standers map[string]*stander
}

type stander struct {
	client    *election.Client
	candidate *election.Candidate
	ran       chan struct{}
}

// serve obeys commands until in ends.
func serve(args []string, in io.Reader, out io.Writer) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ms, err := strconv.Atoi(args[2])
	within, errWithin := time.ParseDuration(args[4])
	if err := errors.Join(err, errWithin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	o := &ours{connect: args[1], timeout: time.Duration(ms) * time.Millisecond, out: out, standers: map[string]*stander{},
		options: []election.Option{election.WithNaming(election.Naming(args[3]))}}
	if within > 0 {
		o.options = append(o.options, election.WithFastFailover(within))
	}
	o.say("-", "ready", "")
	for lines := bufio.NewScanner(in); lines.Scan() && lines.Text() != "exit"; {
		words := strings.Split(lines.Text(), " ")
		go func() { // a command that hangs must not hold up the others
			if err := o.obey(words); err != nil {
				o.say(words[1], "error", err.Error())
			}
		}()
	}
}

// say writes an event. It reads the clock under the lock, so that events are written in
// the order of their times.
func (o *ours) say(who, what, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintln(o.out, strings.TrimSpace(fmt.Sprint(Now(), " ", who, " ", what, " ", strings.ReplaceAll(text, "\n", " "))))
}

func (o *ours) stander(id string) *stander {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.standers[id]
}

func (o *ours) obey(words []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if words[0] == "start" {
		return o.start(ctx, words[1], words[2], words[3])
	}
	s, id := o.stander(words[1]), words[1]
	if s == nil {
		return errors.New("has not been started")
	}
	switch words[0] {
	case "leader?":
		o.say(id, "leader", strconv.FormatBool(s.candidate.HasLeadership()))
	case "participants":
		return o.participants(ctx, s, id, words[2])
	case "resign":
		return s.candidate.Resign(ctx)
	case "close":
		err := errors.Join(s.candidate.Shutdown(ctx), s.client.Close())
		<-s.ran
		o.say(id, "closed", "")
		return err
	default:
		return errors.New(words[0])
	}
	return nil
}

func (o *ours) start(ctx context.Context, id, path, linger string) error {
	wait, err := time.ParseDuration(linger + "ms")
	if err != nil {
		return err
	}
	client, err := election.Connect(ctx, o.connect, election.WithSessionTimeout(o.timeout))
	if err != nil {
		return err
	}
	candidate, err := election.NewCandidate(client, path, append([]election.Option{election.WithID(id)}, o.options...)...)
	if err != nil {
		return err
	}
	s := &stander{client, candidate, make(chan struct{})}
	o.mu.Lock()
	o.standers[id] = s
	o.mu.Unlock()
	if err := candidate.Start(ctx); err != nil {
		return err
	}
	o.say(id, "started", "")
	go o.run(s, id, wait)
	return nil
}

// run says "lost" when the work has stopped, which is before the znode is deleted.
func (o *ours) run(s *stander, id string, linger time.Duration) {
	defer close(s.ran)
	err := s.candidate.Run(context.Background(), func(ctx context.Context, _ *election.Term) error {
		o.say(id, "gained", "")
		<-ctx.Done()
		stopped := time.NewTimer(linger)
		<-stopped.C
		o.say(id, "lost", context.Cause(ctx).Error())
		return nil
	})
	if !errors.Is(err, election.ErrClosed) {
		o.say(id, "error", err.Error())
	}
}

func (o *ours) participants(ctx context.Context, s *stander, id, path string) error {
	all, err := s.client.Participants(ctx, path)
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, p := range all {
		ids[i] = p.ID
	}
	o.say(id, "participants", strings.Join(ids, ","))
	return nil
}
