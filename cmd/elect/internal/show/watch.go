package show

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Watch is elect watch.
type Watch struct {
	Path string `arg:"" help:"Path of the election."`
	text.Format
}

// Help shows how to use it.
func (Watch) Help() string {
	return `Writes who is first in line, and then a line for every change, until it is interrupted. The
path need not exist yet. It watches one znode, whatever the length of the line. To see who
joins and leaves behind the leader, use elect line --watch.

Examples:

  elect watch /my-app/nightly-job
  elect watch /my-app/nightly-job -o json | while read -r change; do …; done`
}

// What Watch reports, for programs.
const (
	hasLeader    = "leader"
	hasNobody    = "nobody"
	disconnected = "disconnected"
	refused      = "refused"
)

// turn is a change of the leader as programs read it.
type turn struct {
	Time   time.Time    `json:"time"`
	Path   string       `json:"path"`
	State  string       `json:"state"` // leader, nobody, disconnected or refused
	Leader *Participant `json:"leader,omitempty"`
	Error  string       `json:"error,omitempty"`
}

// Run writes the changes.
func (c *Watch) Run(env *cli.Env) error {
	client, _, err := snapshot.Connect(env, c.Path)
	if err != nil {
		return err
	}
	defer client.Close()

	for p, err := range client.Observe(env.Context, c.Path) {
		leader := NewParticipant(1, snapshot.Of(p))
		t := turn{Time: time.Now(), Path: c.Path, State: hasLeader, Leader: &leader}
		switch {
		case err == nil:
		case errors.Is(err, election.ErrNoLeader):
			t.State, t.Leader = hasNobody, nil
		case errors.Is(err, election.ErrDisconnected):
			t.State, t.Leader = disconnected, nil
		case errors.Is(err, election.ErrClosed):
			return err
		default:
			t.State, t.Leader, t.Error = refused, nil, err.Error()
		}
		if err := c.write(env, t); err != nil {
			return err
		}
	}
	return env.Context.Err()
}

func (c *Watch) write(env *cli.Env, t turn) error {
	if c.JSON() {
		t.Time = t.Time.UTC()
		return text.WriteJSON(env.Stdout, t, true)
	}
	style, what := text.Leader, ""
	switch t.State {
	case hasLeader:
		what = fmt.Sprintf("%s is first in line (token %s)", text.Plain(t.Leader.ID), t.Leader.Token)
	case hasNobody:
		style, what = text.Warning, "nobody takes part"
	case disconnected:
		style, what = text.Bad, "not connected to ZooKeeper"
	default:
		style, what = text.Bad, "ZooKeeper refuses to say: "+text.Plain(t.Error)
	}
	_, err := fmt.Fprintf(env.Stdout, "%s  %s\n", clock(t.Time), text.Paint(text.Colour(env.Stdout), style, what))
	return err
}
