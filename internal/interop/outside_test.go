package interop

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// again says which of their recipes takes part again after a hand-over has removed its
// znode from between.
var again = map[string]bool{"Curator LeaderLatch": true, "LeaderElectionSupport": false, "Kazoo Election with extra patterns": true}

// Our leader can be asked while theirs stand behind it, and theirs cannot be asked.
func TestLeadershipIsMovedFromOutsideInMixedLines(t *testing.T) {
	for _, k := range kinds {
		if _, some := again[k.name]; !some {
			continue // each starts a process of its own, and the test is to be short
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			p := &pair{s, k, s.launch(Ours(k.naming)), s.launch(k.theirs)}
			operator, err := election.Connect(p.ctx(), p.server, election.WithSessionTimeout(timeout),
				election.WithClientLogger(slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, operator.Close()) })
			p.askedToResign(operator)
			p.askedToHandOver(operator)
		})
	}
}

func (p *pair) nothingAsked(path string) {
	p.Helper()
	found, _, err := p.conn.Exists(path + ".request")
	require.NoError(p, err)
	require.False(p, found, "a request is left behind")
}

// inOrder requires that the first one's work had stopped when the next began to lead.
func (p *pair) inOrder(mark int, first, next string) {
	p.Helper()
	begun, stopped := p.await(mark, next, "gained"), p.await(mark, first, "lost")
	require.Less(p, stopped.At, begun.At, "%s led before the work of %s had stopped", next, first)
}

// askedToResign hands over to theirs, which then cannot be asked.
func (p *pair) askedToResign(operator *election.Client) {
	path, mark := p.path("resign"), p.log.Len()
	a := p.standing(p.ours, "ours", path, 300*time.Millisecond)
	p.await(mark, a, "gained")
	b := p.standing(p.theirs, "theirs", path, 0)
	next, err := operator.RequestResign(p.ctx(), path)
	require.NoError(p, err)
	require.Equal(p, b, next.ID)
	p.inOrder(mark, a, b)
	p.nothingAsked(path)

	_, err = operator.RequestResign(p.ctx(), path)
	require.ErrorIs(p, err, election.ErrUnasked)
	p.nothingAsked(path)
	require.Equal(p, "true", p.ask(p.theirs, "leader", "leader?", b))
	p.awaitLine(path, func(ids []string) bool { return slices.Equal(ids, []string{b, a}) }, "theirs, ours")
	p.leave(p.ours, a)
	p.leave(p.theirs, b)
}

// askedToHandOver hands over above the heads of two of theirs.
func (p *pair) askedToHandOver(operator *election.Client) {
	path, mark := p.path("hand-over"), p.log.Len()
	a := p.standing(p.ours, "ours", path, 300*time.Millisecond)
	p.await(mark, a, "gained")
	b, c := p.standing(p.theirs, "between", path, 0), p.standing(p.theirs, "between", path, 0)
	d := p.standing(p.ours, "named", path, 0)
	require.NoError(p, operator.RequestHandOver(p.ctx(), path, d))
	p.inOrder(mark, a, d)
	p.nothingAsked(path)

	want := []string{a}
	if again[p.kind.name] {
		want = append(want, b, c)
	}
	slices.Sort(want)
	p.awaitLine(path, func(ids []string) bool {
		return len(ids) > 0 && ids[0] == d && slices.Equal(slices.Sorted(slices.Values(ids[1:])), want)
	}, "the named one, and those that stand again")
	p.onlyLed(mark, a, d)
	for _, id := range []string{b, c} {
		p.leave(p.theirs, id)
	}
	p.leave(p.ours, a)
	p.leave(p.ours, d)
}

// onlyLed requires that nobody else has led since mark.
func (p *pair) onlyLed(mark int, who ...string) {
	p.Helper()
	events, _ := p.log.Since(mark)
	for _, e := range events {
		require.False(p, e.What == "gained" && !slices.Contains(who, e.Who), "%v", e)
	}
}
