// Package show has the commands that look at elections: leader, line, list and watch.
package show

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// Participant is a candidate as programs read it. It has all that the JSON of
// election.Participant has.
type Participant struct {
	Place      int               `json:"place"` // 1 is the first in line
	ID         string            `json:"id"`
	Path       string            `json:"path"`  // of its znode
	Token      string            `json:"token"` // such as 0x1f
	Leader     bool              `json:"leader"`
	Since      time.Time         `json:"since,omitzero"` // in line, by ZooKeeper's clock
	Metadata   map[string]string `json:"metadata,omitempty"`
	Naming     string            `json:"naming"` // template of the znode's name
	Persistent bool              `json:"persistent,omitempty"`
	Unreadable bool              `json:"unreadable,omitempty"` // only path, naming and place are known
}

// NewParticipant returns a candidate as programs read it.
func NewParticipant(place int, c snapshot.Candidate) Participant {
	return Participant{Place: place, ID: c.ID, Path: c.Path, Token: text.Token(c.Token), Leader: c.Leader, Since: c.Since,
		Metadata: c.Metadata, Naming: c.Naming, Persistent: c.Persistent, Unreadable: c.Unreadable}
}

func participants(e *snapshot.Election) []Participant {
	all := make([]Participant, len(e.Line))
	for i, c := range e.Line {
		all[i] = NewParticipant(i+1, c)
	}
	return all
}

// table shows candidates. The column of the metadata is there if there is any.
func table(e *snapshot.Election, now time.Time) *text.Table {
	with := slices.ContainsFunc(e.Line, func(c snapshot.Candidate) bool { return len(c.Metadata) > 0 })
	t, head := &text.Table{}, []string{"PLACE", "ID", "IN LINE", "TOKEN", "NAMES"}
	if with {
		head = append(head, "METADATA")
	}
	t.Row(text.Head, head...)
	for i, c := range e.Line {
		style, cells := text.Normal, []string{text.Ordinal(i + 1), text.Plain(c.Label()), "?", "?", text.Plain(c.Naming)}
		if !c.Unreadable {
			cells[2], cells[3] = text.Age(now.Sub(c.Since)), text.Token(c.Token)
		}
		if with {
			cells = append(cells, metadata(c.Metadata))
		}
		switch {
		case c.Persistent || c.Unreadable:
			style = text.Warning
		case i == 0:
			style = text.Leader
		}
		t.Row(style, cells...)
	}
	return t
}

func metadata(pairs map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		all = append(all, key+"="+pairs[key])
	}
	return text.Plain(strings.Join(all, " "))
}
