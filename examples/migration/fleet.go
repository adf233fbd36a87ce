package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
)

//go:embed Worker.java
var javaWorker []byte

// path is the election's. All workers stand there, whatever they are written in.
const path = "/migration/service"

// fleet is all workers that run, and what they have said.
type fleet struct {
	server  string
	timeout time.Duration
	classes string // where the Java worker's are
	log     *interop.Log
	client  *election.Client // stands in no election; it looks
	workers map[string]*interop.Process
	unload  func()
}

func newFleet(ctx context.Context, server string, timeout time.Duration) (*fleet, error) {
	if err := interop.Require(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "migration-")
	if err != nil {
		return nil, err
	}
	f := &fleet{server: server, timeout: timeout, classes: dir, log: interop.NewLog(), workers: map[string]*interop.Process{}}
	source := filepath.Join(dir, "Worker.java")
	if err = os.WriteFile(source, javaWorker, 0o600); err == nil {
		err = interop.Compile(dir, source)
	}
	if err == nil {
		f.client, err = election.Connect(ctx, server)
	}
	if err == nil {
		f.unload, err = load(server)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// close ends what is left.
func (f *fleet) close() error {
	var errs []error
	for _, w := range f.workers {
		errs = append(errs, w.Close())
	}
	if f.unload != nil {
		f.unload()
	}
	if f.client != nil {
		errs = append(errs, f.client.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.classes))...)
}

// load keeps ZooKeeper busy with the writes of somebody else.
func load(server string) (stop func(), err error) {
	conn, _, err := zk.Connect([]string{server}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = conn.Create("/load", nil, 0, zk.WorldACL(zk.PermAll)) // it may be there
		data := make([]byte, 1024)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_, _ = conn.Set("/load", data, -1) // load, whether it works or not
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
		conn.Close()
	}, nil
}

// migrate replaces Java by Go, one process at a time, and Go by Java again.
func (f *fleet) migrate(ctx context.Context) error {
	old := []string{"java-1", "java-2", "java-3"}
	for _, id := range old {
		if err := f.start(ctx, id); err != nil {
			return err
		}
	}
	for _, next := range [][]string{{"go-1", "go-2", "go-3"}, {"java-4", "java-5", "java-6"}} {
		for i := range next {
			if err := f.replace(ctx, old[i], next[i]); err != nil {
				return err
			}
		}
		old = next
	}
	for _, id := range old {
		if err := f.stop(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// replace starts the new before it stops the old, so that there is always somebody to hand on to, and lets whoever
// leads then do some work.
func (f *fleet) replace(ctx context.Context, old, next string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := f.start(ctx, next); err != nil {
		return err
	}
	if err := f.stop(ctx, old); err != nil {
		return err
	}
	leader, err := f.client.Leader(ctx, path)
	if err != nil {
		return err
	}
	mark := f.log.Len()
	for range 100 {
		if _, err := f.log.Await(ctx, mark, leader.ID, "job"); err != nil {
			return err
		}
		mark = f.log.Len()
	}
	return nil
}

// start runs a worker and returns when it stands in line.
func (f *fleet) start(ctx context.Context, id string) error {
	f.note(id, "start")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w, err := interop.Launch(ctx, f.program(id), f.server, f.timeout, f.log)
	if err != nil {
		return err
	}
	f.workers[id] = w
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		line, err := f.client.Participants(ctx, path)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(line, func(p election.Participant) bool { return p.ID == id }) {
			f.note(id, "in-line")
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not stand: %w\n%s", id, ctx.Err(), w.Complaints())
		}
	}
}

// stop ends a worker as a deployment does, by SIGTERM.
func (f *fleet) stop(ctx context.Context, id string) error {
	f.note(id, "SIGTERM")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w := f.workers[id]
	delete(f.workers, id)
	err := w.Terminate(ctx)
	f.note(id, "gone")
	return errors.Join(err, w.Close())
}

// program is the worker that an ID stands for.
func (f *fleet) program(id string) interop.Program {
	return interop.Program{Recipe: id, Command: func(server string, timeout time.Duration) (*exec.Cmd, error) {
		args := []string{id, server, fmt.Sprint(timeout.Milliseconds()), path}
		if strings.HasPrefix(id, "java") {
			return interop.Java(f.classes, "Worker", args...), nil
		}
		self, err := os.Executable()
		return exec.Command(self, append([]string{"worker"}, args...)...), err
	}}
}

func (f *fleet) note(id, what string) {
	f.log.Add(interop.Event{At: interop.Now(), Who: id, What: what})
}

// events are all in the order of their times.
func (f *fleet) events() []interop.Event {
	events, _ := f.log.Since(0)
	slices.SortStableFunc(events, func(a, b interop.Event) int { return int(a.At - b.At) })
	return events
}

// timeline prints what happened, jobs counted.
func (f *fleet) timeline() string {
	events := f.events()
	if len(events) == 0 {
		return ""
	}
	var b strings.Builder
	begin, jobs := events[0].At, 0
	for _, e := range events {
		if e.What == "job" {
			jobs++
			continue
		}
		fmt.Fprintf(&b, "%8.3fs  %-7s %-8s", float64(e.At-begin)/1e9, e.Who, e.What)
		if e.What == "lost" {
			fmt.Fprintf(&b, "%5d jobs", jobs)
			jobs = 0
		}
		b.WriteString("\n")
	}
	return b.String()
}
