package ask

import (
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/show"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Evict is elect evict.
type Evict struct {
	Path  string `arg:"" help:"Path of the election."`
	ID    string `arg:"" help:"ID of the candidate."`
	Token string `placeholder:"0x1f" help:"Its token, if several candidates have the ID."`
	text.Format
}

// Help shows how to use it.
func (Evict) Help() string {
	return `Removes the znode of a candidate that does not lead. If its process lives, the candidate
takes part again at the back (ZooKeeper's LeaderElectionSupport does not). The first in
line is not evicted: elect resign asks it to stop its work first.

Exit codes: 66 nobody with that ID, 69 no ZooKeeper, 76 it is first in line, 77 no permission
(PATH needs DELETE).

Examples:

  elect evict /my-app/nightly-job worker-3
  elect evict /my-app/nightly-job worker-3 --token 0x1f`
}

// evicted is what programs read.
type evicted struct {
	Path    string           `json:"path"`
	Evicted show.Participant `json:"evicted"`
}

// Run removes the znode.
func (c *Evict) Run(env *cli.Env) error {
	client, reader, err := snapshot.Connect(env, c.Path)
	if err != nil {
		return err
	}
	defer client.Close()
	e, err := read(env, reader, c.Path)
	if err != nil {
		return err
	}
	who, err := c.choose(e)
	if err != nil {
		return err
	}

	ctx, cancel := snapshot.Bound(env)
	defer cancel()
	name := text.Plain(who.Label())
	err = client.Evict(ctx, c.Path, who.Participant)
	switch {
	case errors.Is(err, election.ErrIsLeader):
		return &cli.Error{Code: cli.Refused, What: name + " is first in line", Do: "ask it to stop its work with elect resign " + text.Plain(c.Path)}
	case errors.Is(err, zk.ErrNoNode):
		return &cli.Error{Code: cli.Nobody, What: name + " has left meanwhile", Do: "look with elect line " + text.Plain(c.Path)}
	case errors.Is(err, zk.ErrNoAuth):
		return &cli.Error{Code: cli.NoPerm, What: "no permission to evict " + name,
			Do: text.Plain(c.Path) + " has to grant DELETE; give credentials with --auth-file"}
	case err != nil:
		return snapshot.Late(env, err)
	}
	if c.JSON() {
		return text.WriteJSON(env.Stdout, evicted{c.Path, show.NewParticipant(e.Place(who.Token), who)}, false)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s is evicted; if its process lives, it takes part again at the back\n", name)
	return err
}

// choose finds the candidate that is meant.
func (c *Evict) choose(e *snapshot.Election) (snapshot.Candidate, error) {
	all := e.Named(c.ID)
	if c.Token != "" {
		var some []snapshot.Candidate
		for _, one := range all {
			if text.Token(one.Token) == c.Token {
				some = append(some, one)
			}
		}
		all = some
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		return snapshot.Candidate{}, cli.Usagef("%d candidates have the ID %s: choose one with --token; elect line shows the tokens", len(all), text.Plain(c.ID))
	case c.Token != "":
		return snapshot.Candidate{}, &cli.Error{Code: cli.Nobody, What: fmt.Sprintf("nobody with the ID %s and the token %s takes part at %s",
			text.Plain(c.ID), text.Plain(c.Token), text.Plain(c.Path)), Do: "look with elect line " + text.Plain(c.Path)}
	}
	return snapshot.Candidate{}, nobodyNamed(c.ID, e)
}
