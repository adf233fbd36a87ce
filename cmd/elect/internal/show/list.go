package show

import (
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// List is elect list.
type List struct {
	Root   string `arg:"" default:"/" help:"Where to begin. Default: the whole tree below the chroot."`
	Depth  int    `default:"8" help:"How many levels to go down."`
	Znodes int    `default:"10000" help:"How many znodes to look at."`
	text.Format
}

// Help shows how to use it.
func (List) Help() string {
	return `An election is a znode with an ephemeral child whose name ends in ten digits. Locks of
other libraries look the same, and are listed, too. Elections in which nobody takes part
cannot be told from other znodes. /zookeeper is left out.

Examples:

  elect list /
  elect list /my-app --depth 2
  elect list / -o json | jq -r '.elections[] | select(.candidates == 1) | .path'`
}

// listDocument is what programs read.
type listDocument struct {
	Root       string   `json:"root"`
	Elections  []listed `json:"elections"`
	Incomplete bool     `json:"incomplete"` // --depth or --znodes has ended the search
	Unreadable []string `json:"unreadable,omitempty"`
}

type listed struct {
	Path       string      `json:"path"`
	Candidates int         `json:"candidates"`
	Leader     Participant `json:"leader"`
}

// Run lists the elections.
func (c *List) Run(env *cli.Env) error {
	if c.Depth < 0 || c.Znodes < 1 {
		return cli.Usagef("--depth %d, --znodes %d: the one must not be negative, the other must be positive", c.Depth, c.Znodes)
	}
	client, reader, err := snapshot.Connect(env, c.Root)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := snapshot.Bound(env)
	defer cancel()

	found, err := reader.Find(ctx, c.Root, snapshot.Bounds{Depth: c.Depth, Znodes: c.Znodes})
	switch {
	case err != nil:
		return snapshot.Late(env, err)
	case found.Missing:
		return &cli.Error{Code: cli.Nobody, What: "there is no znode " + text.Plain(c.Root), Do: "begin at / to see what there is"}
	}
	all := make([]*snapshot.Election, len(found.Elections))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, path := range found.Elections {
		group.Go(func() (err error) {
			all[i], err = reader.Read(ctx, path, snapshot.Options{Limit: 1})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return snapshot.Late(env, err)
	}
	return c.write(env, found, all)
}

func (c *List) write(env *cli.Env, found *snapshot.Found, all []*snapshot.Election) error {
	d := listDocument{Root: c.Root, Elections: []listed{}, Incomplete: found.Stopped || found.Deeper, Unreadable: found.Unreadable}
	t := &text.Table{}
	t.Row(text.Head, "PATH", "LEADER", "IN LINE", "CANDIDATES", "TOKEN")
	for _, e := range all {
		if len(e.Line) == 0 {
			continue // all have left meanwhile
		}
		leader := NewParticipant(1, e.Line[0])
		d.Elections = append(d.Elections, listed{e.Path, e.Count, leader})
		age, token := "?", "?"
		if !leader.Unreadable {
			age, token = text.Age(e.Read.Sub(leader.Since)), leader.Token
		}
		t.Row(text.Normal, text.Plain(e.Path), text.Plain(e.Line[0].Label()), age, strconv.Itoa(e.Count), token)
	}
	if c.JSON() {
		return text.WriteJSON(env.Stdout, d, false)
	}

	if len(d.Elections) > 0 {
		if err := t.Write(env.Stdout, text.Colour(env.Stdout)); err != nil {
			return err
		}
	}
	for _, note := range c.notes(found, len(d.Elections)) {
		fmt.Fprintf(env.Stderr, "elect: %s\n", note)
	}
	return nil
}

// notes say what the table does not show.
func (c *List) notes(found *snapshot.Found, elections int) (all []string) {
	if elections == 0 {
		all = append(all, fmt.Sprintf("no elections at %s and below", text.Plain(c.Root)))
	}
	if n := len(found.Unreadable); n > 0 {
		all = append(all, fmt.Sprintf("%d znodes may not be read, such as %s: there may be elections below them", n, text.Plain(found.Unreadable[0])))
	}
	if found.Stopped {
		all = append(all, fmt.Sprintf("looked at %d znodes and stopped: begin further down, or raise --znodes", c.Znodes))
	}
	if found.Deeper {
		all = append(all, fmt.Sprintf("looked %d levels deep and stopped: begin further down, or raise --depth", c.Depth))
	}
	return all
}
