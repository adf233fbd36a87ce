// Command containers starts, breaks and removes ZooKeeper servers in containers. Package zktest starts it with go run.
// It is a module of its own: it needs testcontainers-go and Docker's client, and a service that imports the library
// should have neither in its module graph.
//
// It reads requests from its standard input and writes answers to its standard output, in lines of JSON. The protocol is
// in serve.go, and the requests are in methods.go. When its input ends, it removes everything it has made and exits. So
// nothing is left when the process that started it ends, even if that process was killed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Ctrl-C reaches the whole group of processes. The process that sends the requests decides what to do then. Once that
	// process is gone, writing an answer raises SIGPIPE, which must not end this process before everything is removed.
	signal.Ignore(os.Interrupt, syscall.SIGPIPE)
	out := os.Stdout
	os.Stdout = os.Stderr // what libraries print is not an answer

	serve(os.Stdin, out, methods)
	if err := removeAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// removeAll removes the containers and networks of this process that are left. It repeats that until it succeeds or
// closeLimit is over: the engine may still be busy with a request that was cancelled.
func removeAll() error {
	if !connected.Load() {
		return nil
	}
	e, err := connect()
	if err != nil {
		return nil // nothing can have been made
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return poll(ctx, func(ctx context.Context) error { return e.removeWhere(ctx, own) })
}
