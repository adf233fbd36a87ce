package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Everybody reads the metadata of a candidate, and its znode holds it in one line.
func TestMetadataIsReadByAllWhoLook(t *testing.T) {
	tell(t, func(s story) {
		watcher := s.client("watcher")
		f := watcher.Follow(job)
		given := map[string]string{"zone": "eu west", "address": "10.0.0.7:8080", "note": ""}
		want := map[string]string{"zone": "eu west", "address": "10.0.0.7:8080", "note": ""}
		before := time.Now()
		a := s.start(s.client("a"), election.WithID("a?"), election.WithMetadata(map[string]string{"x": "y"}), election.WithMetadata(given))
		clear(given)
		after := time.Now()
		s.start(s.client("b"), election.WithID("b?"))

		is := func(p election.Participant, err error) {
			s.Helper()
			require.NoError(s, err)
			require.Equal(s, "a?", p.ID)
			require.Equal(s, want, p.Metadata)
			require.False(s, p.Since.Before(before.Truncate(time.Millisecond)), p.Since)
			require.False(s, p.Since.After(after), p.Since)
			require.Equal(s, time.UTC, p.Since.Location())
		}
		is(watcher.Leader(s.Context(), job))
		s.sees(f, "a?", nil)
		is(f.Leader())
		for p, err := range watcher.Observe(s.Context(), job) {
			is(p, err)
			break
		}
		all, err := watcher.Participants(s.Context(), job)
		require.NoError(s, err)
		require.Len(s, all, 2)
		require.Equal(s, "b?", all[1].ID)
		require.Nil(s, all[1].Metadata)

		znode, _ := s.e.Get(a.Status().Znode)
		require.Equal(s, "a%3F?address=10.0.0.7:8080&note=&zone=eu%20west", string(znode.Data))
		require.Equal(s, "a?", a.Status().ID)
	})
}

// A candidate that waits shows the ID and the metadata of the one ahead. What others wrote
// is an ID.
func TestWhatOthersWroteIsAnID(t *testing.T) {
	tell(t, func(s story) {
		require.NoError(s, s.e.Create(job, nil))
		for id, metadata := range map[string]map[string]string{
			"host?x":          nil,
			"a?b=%zz":         nil,
			"a?b=1&a=2":       nil,
			"?":               nil,
			"worker?k=v":      {"k": "v"},
			"\xff\x00 nobody": nil,
			"":                nil,
		} {
			require.NoError(s, s.e.Create(job+"/_c_00000000-0000-4000-8000-000000000000-latch-0000000000", []byte(id)))
			c := s.start(s.client("b"), election.WithID("b"))
			time.Sleep(time.Second)
			ahead := c.Status().Ahead
			require.NotNil(s, ahead, "%q", id)
			require.Equal(s, metadata, ahead.Metadata)
			if metadata == nil {
				require.Equal(s, id, ahead.ID)
			}
			require.NoError(s, c.Close())
			require.NoError(s, s.e.Delete(ahead.Path))
		}
	})
}
