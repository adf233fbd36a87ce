package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/interop"
)

// worker is the service after the migration: the same path, the same kind of ID, and the default naming, which is
// that of Curator's LeaderLatch. Its arguments are those of Worker.java.
func worker(args []string) error {
	id, server, path := args[0], args[1], args[3]
	timeout, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // so that it does not outlive whoever started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	client, err := election.Connect(ctx, server, election.WithSessionTimeout(time.Duration(timeout)*time.Millisecond))
	if err != nil {
		return err
	}
	candidate, err := election.NewCandidate(client, path, election.WithID(id))
	if err != nil {
		return errors.Join(err, client.Close())
	}
	say(id, "ready")
	err = candidate.Run(ctx, func(ctx context.Context, _ *election.Term) error { return jobs(ctx, id) })
	if ctx.Err() != nil { // SIGTERM: the work has stopped, and the znode is gone
		err = nil
	}
	return errors.Join(err, client.Close())
}

// jobs does one after the other as long as its term lasts.
func jobs(ctx context.Context, id string) error {
	say(id, "gained")
	defer say(id, "lost")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil { // Err asks the clock: right before the act
		say(id, "job")
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func say(id, what string) { fmt.Println(interop.Now(), id, what) }
