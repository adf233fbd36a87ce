package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	gopath "path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/interop"
)

//go:embed Worker.java
var javaWorker []byte

// path is the path of the election. All workers take part there, in Java and in Go.
const path = "/migration/service"

// fleet has all workers that run, and what they have printed.
type fleet struct {
	*timeline
	server  string
	program string // what the Go workers run
	timeout time.Duration
	classes string           // folder with the Java worker's classes
	client  *election.Client // only looks at the election
	workers map[string]*demo.Process
	unload  func()
}

func newFleet(ctx context.Context, server, program string, timeout time.Duration) (*fleet, error) {
	dir, err := os.MkdirTemp("", "migration-")
	if err != nil {
		return nil, err
	}
	f := &fleet{server: server, program: program, timeout: timeout, classes: dir, workers: map[string]*demo.Process{}}
	source := filepath.Join(dir, "Worker.java")
	if err = os.WriteFile(source, javaWorker, 0o600); err == nil {
		fmt.Println("Compiling Worker.java")
		err = interop.Compile(dir, source)
	}
	if err == nil {
		quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		f.client, err = election.Connect(ctx, server, election.WithClientLogger(quiet))
	}
	if err == nil {
		f.unload, err = load(server)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	f.timeline = newTimeline()
	return f, nil
}

// close ends the workers that are left.
func (f *fleet) close() error {
	var errs []error
	for _, w := range f.workers {
		_ = w.Kill()
		<-w.Done()
	}
	if f.unload != nil {
		f.unload()
	}
	if f.client != nil {
		errs = append(errs, f.client.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.classes))...)
}

// load keeps ZooKeeper busy with writes that have nothing to do with the election.
func load(server string) (stop func(), err error) {
	hosts, chroot, _ := strings.Cut(server, "/")
	conn, _, err := zk.Connect(strings.Split(hosts, ","), 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	znode := gopath.Join("/", chroot, "migration-load")
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = conn.Create(znode, nil, 0, zk.WorldACL(zk.PermAll)) // it may exist already
		data := make([]byte, 1024)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_, _ = conn.Set(znode, data, -1) // whether the write succeeds does not matter
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
		_ = conn.Delete(znode, -1)
		conn.Close()
	}, nil
}

// migrate replaces Java by Go, one process at a time, and then Go by Java again.
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

// replace starts the next worker before it stops the old one, so that there is always a
// worker to hand over to. Then it waits until the leader has done some work.
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
	return f.await(ctx, f.length(), leader.ID, 100)
}

// start runs a worker and returns when it is in line.
func (f *fleet) start(ctx context.Context, id string) error {
	f.note(id, "start")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := f.command(id)
	w, err := demo.Start(f.server, f.take, command[0], command[1:]...)
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
		case <-w.Done():
			return fmt.Errorf("%s has ended: %v", id, w.Wait(ctx))
		case <-ctx.Done():
			return fmt.Errorf("%s has not joined the election: %w", id, ctx.Err())
		}
	}
}

// stop ends a worker with SIGTERM, as a deployment does.
func (f *fleet) stop(ctx context.Context, id string) error {
	f.note(id, "SIGTERM")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w := f.workers[id]
	delete(f.workers, id)
	err := w.Terminate()
	select {
	case <-w.Done():
		f.note(id, "gone")
	case <-ctx.Done():
		err = fmt.Errorf("%s does not end: %w", id, ctx.Err())
		_ = w.Kill()
		<-w.Done()
	}
	return err
}

// command returns the command of the worker with this ID.
func (f *fleet) command(id string) []string {
	if strings.HasPrefix(id, "java") {
		java := interop.Java(f.classes, "Worker", id, f.server, fmt.Sprint(f.timeout.Milliseconds()), path).Args
		// ZooKeeper's client warns of connections that it has closed itself.
		return slices.Insert(java, 1, "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.ClientCnxn=error")
	}
	return []string{f.program, "-name", id, "-path", path, "-session-timeout", f.timeout.String()}
}
