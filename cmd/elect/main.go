// Command elect takes part in leader elections on Apache ZooKeeper, and shows and moves
// them, for services in any language and for operators. elect --help lists its commands.
package main

import (
	"os"

	"github.com/zkelection/election/cmd/elect/internal/ask"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/dev"
	"github.com/zkelection/election/cmd/elect/internal/explain"
	"github.com/zkelection/election/cmd/elect/internal/exporter"
	"github.com/zkelection/election/cmd/elect/internal/run"
	"github.com/zkelection/election/cmd/elect/internal/show"
)

// grammar is the command line: the common flags, and one field for each command. A
// command has a method Run(*cli.Env) error.
type grammar struct {
	cli.Flags `embed:""`

	Run      run.Command      `cmd:"" help:"Run a command while leading."`
	Leader   show.Leader      `cmd:"" help:"Show who leads."`
	Line     show.Line        `cmd:"" help:"Show all candidates, the leader first."`
	List     show.List        `cmd:"" help:"List the elections at and below a path."`
	Watch    show.Watch       `cmd:"" help:"Write a line for every change of the leader."`
	Explain  explain.Command  `cmd:"" help:"Say why somebody does not lead, and what is odd."`
	Resign   ask.Resign       `cmd:"" help:"Ask the leader to stop its work and go to the back."`
	HandOver ask.HandOver     `cmd:"" help:"Ask the leader to hand over to a certain candidate."`
	Evict    ask.Evict        `cmd:"" help:"Remove a candidate that does not lead."`
	Exporter exporter.Command `cmd:"" help:"Serve metrics of elections for Prometheus."`
	Dev      dev.Command      `cmd:"" help:"Run a ZooKeeper in memory, for trying out."`

	Completion cli.Completion `cmd:"" help:"Print what switches completion on in a shell."`
}

func main() {
	run.KeepIfAsked()
	var g grammar
	os.Exit(cli.Main(&g, &g.Flags, os.Args[1:]))
}
