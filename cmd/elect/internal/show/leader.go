package show

import (
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Leader is elect leader.
type Leader struct {
	Path  string `arg:"" help:"Path of the election."`
	Watch bool   `short:"w" help:"Go on, and show every change."`
	text.Format
}

// Help shows how to use it.
func (Leader) Help() string {
	return `The first in line leads, or is about to, or has lost touch with ZooKeeper: only the
candidate itself knows which. The age is the time that it has been in line.
Nobody takes part: exit code 66.

Examples:

  elect leader /my-app/nightly-job
  elect leader /my-app/nightly-job -o json | jq -r .leader.metadata.address
  elect leader /my-app/nightly-job --watch`
}

// leaderDocument is what programs read.
type leaderDocument struct {
	Path   string       `json:"path"`
	Leader *Participant `json:"leader"`
}

// Run shows the leader.
func (c *Leader) Run(env *cli.Env) error {
	document := func(e *snapshot.Election) any {
		d := leaderDocument{Path: e.Path}
		if len(e.Line) > 0 {
			p := NewParticipant(1, e.Line[0])
			d.Leader = &p
		}
		return d
	}
	return show(env, c.Path, view{format: c.Format, watch: c.Watch, limit: 1, document: document})
}

// Line is elect line.
type Line struct {
	Path  string `arg:"" help:"Path of the election."`
	Watch bool   `short:"w" help:"Go on, and show every change."`
	text.Format
}

// Help shows how to use it.
func (Line) Help() string {
	return `All candidates, the leader first, then in the order in which they would lead. NAMES is
how the znodes are named, which shows the library that a candidate uses.
Nobody takes part: exit code 66.

Examples:

  elect line /my-app/nightly-job
  elect line /my-app/nightly-job --watch
  elect line /my-app/nightly-job -o json | jq -r '.participants[].id'`
}

// lineDocument is what programs read.
type lineDocument struct {
	Path         string        `json:"path"`
	Participants []Participant `json:"participants"`
}

// Run shows the line.
func (c *Line) Run(env *cli.Env) error {
	document := func(e *snapshot.Election) any { return lineDocument{e.Path, participants(e)} }
	return show(env, c.Path, view{format: c.Format, watch: c.Watch, document: document})
}

// view is how an election is shown.
type view struct {
	format   text.Format
	watch    bool
	limit    int // of candidates; 0: all
	document func(*snapshot.Election) any
}

func show(env *cli.Env, path string, v view) error {
	client, reader, err := snapshot.Connect(env, path)
	if err != nil {
		return err
	}
	defer client.Close()
	if v.watch {
		return (&live{env: env, reader: reader, status: client.Status, path: path, view: v}).run()
	}

	ctx, cancel := snapshot.Bound(env)
	defer cancel()
	e, err := reader.Read(ctx, path, snapshot.Options{Limit: v.limit})
	switch {
	case err != nil:
		return snapshot.Late(env, err)
	case len(e.Line) == 0:
		return reader.Nobody(path, e.Missing)
	case v.format.JSON():
		return text.WriteJSON(env.Stdout, v.document(e), false)
	}
	return table(e, e.Read).Write(env.Stdout, text.Colour(env.Stdout))
}
