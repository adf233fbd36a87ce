// Package ask has the commands that move leadership: resign, hand-over and evict.
package ask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/show"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Request is what the requests to a leader have in common.
type Request struct {
	Path string        `arg:"" help:"Path of the election."`
	Wait time.Duration `default:"5m" help:"How long to wait until the leader's work has stopped."`
	text.Format
}

// what the requests do, whatever they ask for.
const how = `The leader stops its work first, so no two lead. It is asked by an ephemeral znode beside
the path, PATH.request, which is removed before the command ends. If the command is
interrupted, or --wait is over, a leader that has taken the request carries it out all the
same.

Exit codes: 66 nobody takes part, 69 no ZooKeeper, 75 not yet: another request is under way,
or the work has not stopped in time, 76 the leader did not answer or refuses, 77 no
permission (the parent of PATH needs CREATE and DELETE).
`

// Resign is elect resign.
type Resign struct{ Request }

// Help shows how to use it.
func (Resign) Help() string {
	return how + `
Examples:

  elect resign /my-app/nightly-job
  elect resign /my-app/nightly-job --wait 30s -o json | jq -r .leader.id`
}

// HandOver is elect hand-over.
type HandOver struct {
	Request
	ID string `arg:"" help:"ID of the candidate that is to lead next."`
}

// Help shows how to use it.
func (HandOver) Help() string {
	return how + `
Examples:

  elect line /my-app/nightly-job
  elect hand-over /my-app/nightly-job worker-3`
}

// moved is what programs read.
type moved struct {
	Path   string           `json:"path"`
	Was    show.Participant `json:"was"`
	Leader show.Participant `json:"leader"` // first in line now
}

// Run asks the leader to resign.
func (c *Resign) Run(env *cli.Env) error {
	return c.run(env, func(ctx context.Context, client *election.Client, _ *snapshot.Election) error {
		_, err := client.RequestResign(ctx, c.Path)
		return err
	})
}

// Run asks the leader to hand over.
func (c *HandOver) Run(env *cli.Env) error {
	if c.ID == "" {
		return cli.Usagef("the ID is empty: elect resign hands over to the next in line")
	}
	return c.run(env, func(ctx context.Context, client *election.Client, before *snapshot.Election) error {
		if len(before.Named(c.ID)) == 0 {
			return nobodyNamed(c.ID, before)
		}
		return client.RequestHandOver(ctx, c.Path, c.ID)
	})
}

// run makes a request and says who leads then.
func (c *Request) run(env *cli.Env, do func(context.Context, *election.Client, *snapshot.Election) error) error {
	if c.Wait <= 0 {
		return cli.Usagef("--wait %v is not positive", c.Wait)
	}
	client, reader, err := snapshot.Connect(env, c.Path)
	if err != nil {
		return err
	}
	defer client.Close() // ends the session, and a request with it that could not be removed
	before, err := c.read(env, reader)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(env.Context, c.Wait)
	defer cancel()
	if err := do(ctx, client, before); err != nil {
		return c.explain(ctx, env, reader, before, err)
	}
	after, err := c.read(env, reader)
	if err != nil {
		return err
	}
	was, is := before.Line[0], after.Line[0]
	switch {
	case c.JSON():
		return text.WriteJSON(env.Stdout, moved{c.Path, show.NewParticipant(1, was), show.NewParticipant(1, is)}, false)
	case is.Token == was.Token:
		_, err = fmt.Fprintf(env.Stdout, "%s leads already\n", text.Plain(is.Label()))
	case is.Label() == was.Label() && len(after.Line) == 1:
		_, err = fmt.Fprintf(env.Stdout, "%s has resigned and is first in line again, since nobody else takes part\n", text.Plain(is.Label()))
	default:
		_, err = fmt.Fprintf(env.Stdout, "%s has resigned, %s is first in line now\n", text.Plain(was.Label()), text.Plain(is.Label()))
	}
	return err
}

// read reads the line, of which there must be one.
func (c *Request) read(env *cli.Env, reader snapshot.Reader) (*snapshot.Election, error) {
	return read(env, reader, c.Path)
}

func read(env *cli.Env, reader snapshot.Reader, path string) (*snapshot.Election, error) {
	ctx, cancel := snapshot.Bound(env)
	defer cancel()
	e, err := reader.Read(ctx, path, snapshot.Options{})
	if err == nil && len(e.Line) == 0 {
		err = reader.Nobody(path, e.Missing)
	}
	return e, snapshot.Late(env, err)
}

// explain says what a failed request means and what to do.
func (c *Request) explain(ctx context.Context, env *cli.Env, reader snapshot.Reader, before *snapshot.Election, err error) error {
	leader := text.Plain(before.Line[0].Label())
	var own *cli.Error
	switch {
	case errors.As(err, &own):
		return err
	case ctx.Err() != nil:
		return c.givenUp(env, leader)
	case errors.Is(err, election.ErrNoLeader):
		return reader.Nobody(c.Path, false)
	case errors.Is(err, election.ErrRequested):
		return &cli.Error{Code: cli.NotYet, What: "another request to " + leader + " is under way", Do: "wait for it, or for the end of the session that made it"}
	case errors.Is(err, election.ErrUnasked):
		return &cli.Error{Code: cli.Refused, What: leader + " did not answer, and the request is withdrawn",
			Do: "it uses another library, takes no requests, or is cut off from ZooKeeper; stop its process instead"}
	case errors.Is(err, zk.ErrNoAuth):
		return &cli.Error{Code: cli.NoPerm, What: "no permission to ask " + leader,
			Do: "the parent of " + text.Plain(c.Path) + " has to grant CREATE and DELETE; give credentials with --auth-file"}
	case errors.Is(err, zk.ErrNodeExists):
		return &cli.Error{Code: cli.Refused, What: text.Plain(c.Path) + ".request is in the way and is no request", Do: "delete that znode"}
	case errors.Is(err, election.ErrDisconnected), errors.Is(err, election.ErrSessionExpired), errors.Is(err, election.ErrClosed):
		return err
	}
	return &cli.Error{Code: cli.Refused, What: err.Error(), Do: "look who leads with elect line " + text.Plain(c.Path)}
}

// givenUp is the error of a command that has been interrupted, or has waited long enough.
func (c *Request) givenUp(env *cli.Env, leader string) error {
	e := &cli.Error{Code: cli.NotYet, What: fmt.Sprintf("%s has not handed over within %v", leader, c.Wait)}
	var signal cli.Signal
	if errors.As(context.Cause(env.Context), &signal) {
		e.Code, e.What = signal.Code(), "interrupted"
	}
	e.Do = "if " + leader + " has taken the request, it hands over when its work has stopped; look with elect leader " + text.Plain(c.Path)
	return e
}

func nobodyNamed(id string, e *snapshot.Election) error {
	return &cli.Error{Code: cli.Nobody, What: fmt.Sprintf("nobody with the ID %s takes part at %s", text.Plain(id), text.Plain(e.Path)),
		Do: "there are " + e.IDs()}
}
