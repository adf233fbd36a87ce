package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// IDs, paths and names may have many kilobytes. Texts for people show the first 200
// bytes. Data stays whole.
func TestNoTextHoldsMoreThanTheBeginningOfAnIDOrAPath(t *testing.T) {
	tell(t, func(s story) {
		const long = 5000
		id, path := strings.Repeat("x", long), "/"+strings.Repeat("y", long)
		naming := strings.Repeat("z", long) + "-{uuid}-"
		said, log := listen(slog.LevelDebug)
		a := s.client("a", election.WithClientLogger(log))
		make := func(c *election.Client) *election.Candidate {
			x, err := election.NewCandidate(c, path, election.WithID(id), election.WithNaming(election.Naming(naming)))
			require.NoError(s, err)
			return x
		}
		var texts texts
		nobody, err := a.Leader(s.Context(), path)
		require.ErrorIs(s, err, election.ErrNoLeader)
		texts.add(err, nobody)

		x, y := make(a), make(s.client("b", election.WithClientLogger(log)))
		term, err := x.Await(s.Context())
		require.NoError(s, err)
		require.NoError(s, y.Start(s.Context()))
		time.Sleep(time.Minute)
		first, err := a.Leader(s.Context(), path)
		require.NoError(s, err)
		texts.add(term, first, x.Status(), y.Status())
		assert.Equal(s, id, first.ID)
		whole, err := json.Marshal(y.Status())
		require.NoError(s, err)
		assert.Contains(s, string(whole), id)

		operator := s.operator()
		_, err = operator.SetACL(path, zk.WorldACL(zk.PermRead|zk.PermAdmin), -1)
		require.NoError(s, err)
		require.NoError(s, s.e.Delete(x.Status().Znode))
		time.Sleep(time.Minute)
		texts.add(x.Status(), make(a).Start(s.Context()))
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		_, err = x.Await(ctx)
		texts.add(err, x.Start(ctx))
		require.NoError(s, a.Close())
		_, err = a.Leader(s.Context(), path)
		texts.add(err, x.Start(s.Context()), x.Status())
		_, err = election.Connect(ctx, "zk"+path, election.WithDialer(s.e.Dialer()), election.WithClientLogger(log))
		texts.add(err)
		time.Sleep(10 * time.Second) // until what it began is undone

		for _, l := range said.take() {
			texts.add(l)
		}
		texts.requireBrief(s.T)
	})
}

// texts are what people read: errors, logs, and what has a String method.
type texts []string

func (x *texts) add(v ...any) {
	for _, text := range v {
		if text != nil {
			*x = append(*x, fmt.Sprint(text))
		}
	}
}

// requireBrief requires that no text holds more than 200 bytes of the ID, the path or the
// name.
func (x texts) requireBrief(t *testing.T) {
	require.Greater(t, len(x), 30)
	for _, text := range x {
		for _, c := range []string{"x", "y", "z"} {
			assert.NotContains(t, text, strings.Repeat(c, 201))
		}
	}
}
