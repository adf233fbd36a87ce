// Package dev has the command elect dev: a ZooKeeper in memory, for trying out.
package dev

import (
	"fmt"
	"net"
	"time"

	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/internal/zksim"
)

// Command is elect dev.
type Command struct {
	Listen string        `default:"127.0.0.1:2181" help:"Address to listen on. With port 0, a free port."`
	Tick   time.Duration `default:"2s" help:"The server's tick. It grants session timeouts of 2 to 20 ticks."`
}

// Help shows how to use it.
func (Command) Help() string {
	return `A ZooKeeper of one server, in memory, until it is interrupted. It is for trying out and for
tests, not for production: it stores nothing, checks passwords of the scheme digest only, and
has no TLS. Everyone who reaches the address may use it. The first line of its standard
output is the connect string.

Examples:

  elect dev
  elect dev --listen 127.0.0.1:0 --tick 200ms`
}

// Run serves until the command is interrupted.
func (c *Command) Run(env *cli.Env) error {
	if c.Tick < time.Millisecond {
		return cli.Usagef("--tick %v is less than 1ms", c.Tick)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return cli.Usagef("--listen %s: %v", c.Listen, err)
	}
	ensemble := zksim.New(zksim.Config{Tick: c.Tick})
	defer ensemble.Close()
	at, err := ensemble.ListenTCP(c.Listen)
	if err != nil {
		return &cli.Error{Code: cli.Failed, What: fmt.Sprintf("cannot listen on %s: %v", c.Listen, err), Do: "choose another address with --listen"}
	}
	if _, err := fmt.Fprintln(env.Stdout, at); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "elect: a ZooKeeper in memory listens on %s; nothing is stored; end it with Ctrl-C\n", at)
	<-env.Context.Done()
	return env.Context.Err()
}
