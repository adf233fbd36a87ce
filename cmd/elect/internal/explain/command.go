package explain

import (
	"context"
	"fmt"

	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/show"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Command is elect explain.
type Command struct {
	Path string `arg:"" help:"Path of the election."`
	ID   string `arg:"" optional:"" help:"Explain only the candidates with this ID."`
	text.Format
}

// Help shows how to use it.
func (Command) Help() string {
	return `Says in one line each why somebody leads or does not, and warns of what is odd: children
that are no candidates, names of several kinds, znodes that stay, a counter near its end,
several candidates of one session or with one ID, requests that nobody answers.

Whether a candidate lives cannot be seen: ZooKeeper tells no client when it last heard of a
session. There is one exception, a candidate with fast failover. It writes its znode again
and again, so elect explain waits for as long as the candidate has announced, and says if
it is silent.

Examples:

  elect explain /my-app/nightly-job
  elect explain /my-app/nightly-job worker-3
  elect explain /my-app/nightly-job -o json | jq -e '.warnings == []'`
}

// document is what programs read.
type document struct {
	Path       string    `json:"path"`
	Candidates []reason  `json:"candidates"`
	Warnings   []Warning `json:"warnings"`
}

type reason struct {
	show.Participant
	Why string `json:"why"`
}

// Run explains the election.
func (c *Command) Run(env *cli.Env) error {
	client, reader, err := snapshot.Connect(env, c.Path)
	if err != nil {
		return err
	}
	defer client.Close()
	e, silent, err := c.read(env, reader)
	if err != nil {
		return err
	}
	if len(e.Line) == 0 && (len(e.Junk) == 0 || c.ID != "") {
		return reader.Nobody(c.Path, e.Missing)
	}

	report := Explain(e, silent)
	if c.ID != "" {
		if report.Reasons = only(report.Reasons, c.ID); len(report.Reasons) == 0 {
			return &cli.Error{Code: cli.Nobody, Do: "there are " + e.IDs(),
				What: fmt.Sprintf("nobody with the ID %s takes part at %s, so that one cannot lead", text.Plain(c.ID), text.Plain(c.Path))}
		}
	}
	if c.JSON() {
		err = text.WriteJSON(env.Stdout, report.document(c.Path), false)
	} else {
		err = report.write(env)
	}
	if err == nil && len(e.Line) == 0 {
		return reader.Nobody(c.Path, false)
	}
	return err
}

func (c *Command) read(env *cli.Env, reader snapshot.Reader) (*snapshot.Election, map[int64]bool, error) {
	ctx, cancel := snapshot.Bound(env)
	defer cancel()
	e, err := reader.Read(ctx, c.Path, snapshot.Options{})
	if err != nil {
		return nil, nil, snapshot.Late(env, err)
	}
	patient, stop := context.WithTimeout(env.Context, env.Flags.Timeout+front*longest)
	defer stop()
	silent, err := Silent(patient, reader, e)
	return e, silent, snapshot.Late(env, err)
}

func only(all []Reason, id string) (some []Reason) {
	for _, r := range all {
		if !r.Candidate.Unreadable && r.Candidate.ID == id {
			some = append(some, r)
		}
	}
	return some
}

func (r Report) document(path string) document {
	d := document{Path: path, Candidates: []reason{}, Warnings: r.Warnings}
	if d.Warnings == nil {
		d.Warnings = []Warning{}
	}
	for _, one := range r.Reasons {
		d.Candidates = append(d.Candidates, reason{show.NewParticipant(one.Place, one.Candidate), one.Why})
	}
	return d
}

func (r Report) write(env *cli.Env) error {
	colour := text.Colour(env.Stdout)
	for _, one := range r.Reasons {
		style := text.Normal
		if one.Place == 1 {
			style = text.Leader
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s: %s\n", text.Paint(colour, style, text.Plain(one.Candidate.Label())), one.Why); err != nil {
			return err
		}
	}
	for _, w := range r.Warnings {
		if _, err := fmt.Fprintf(env.Stdout, "%s %s\n", text.Paint(colour, text.Warning, "warning:"), w.Text); err != nil {
			return err
		}
	}
	return nil
}
