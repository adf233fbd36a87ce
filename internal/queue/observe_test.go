package queue_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

func TestMembersAreReadFrontFirstAndUpToALimit(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		none, err := queue.Members(t.Context(), s, path, 0)
		require.NoError(t, err)
		assert.Empty(t, none, "there is no path")

		mine := entry(s, queue.NewClaims(), "x-", true)
		for range 3 {
			_, _, err := mine.Create()
			require.NoError(t, err)
		}
		for limit, n := range map[int]int{0: 3, 1: 1, 2: 2, 5: 3} {
			all, err := queue.Members(t.Context(), s, path, limit)
			require.NoError(t, err)
			require.Len(t, all, n)
			assert.Equal(t, mine.Node("x-0000000000"), all[0].Path)
			assert.Equal(t, s.Status().ID, all[0].SessionID)
		}
	})
}

func TestAnObserverYieldsTheFirstInLineAndEveryChange(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		mine := entry(s, queue.NewClaims(), "x-", true)
		o := queue.Observer{Session: s, Path: path}
		var seen []string
		o.Run(ctx, func(m queue.Member, err error) bool {
			switch {
			case err != nil:
				assert.ErrorIs(t, err, queue.ErrNobody)
				seen = append(seen, "nobody")
			default:
				seen = append(seen, m.Path)
			}
			switch len(seen) {
			case 1:
				for range 2 {
					_, _, err := mine.Create()
					require.NoError(t, err)
				}
			case 2, 3:
				require.NoError(t, e.Delete(m.Path))
			case 4:
				cancel()
			}
			return true
		})
		assert.Equal(t, []string{"nobody", mine.Node("x-0000000000"), mine.Node("x-0000000001"), "nobody"}, seen)
	})
}

// A path that is deleted and made again counts from zero again, so a znode may bear the name
// of one that an Observer has listed, and another one be ahead of it.
func TestAnObserverListsAPathAgainThatWasMadeAnew(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		mine := entry(s, queue.NewClaims(), "x-", true)
		for range 2 {
			_, _, err := mine.Create()
			require.NoError(t, err)
		}
		var seen []string
		o := queue.Observer{Session: s, Path: path}
		o.Run(ctx, func(m queue.Member, err error) bool {
			require.NoError(t, err)
			if seen = append(seen, m.Path); len(seen) == 2 {
				cancel()
				return true
			}
			require.NoError(t, e.DeleteTree(path))
			for _, p := range []string{path, mine.Node("y-0000000000"), mine.Node("x-0000000001")} {
				require.NoError(t, e.Create(p, nil))
			}
			return true
		})
		assert.Equal(t, []string{mine.Node("x-0000000000"), mine.Node("y-0000000000")}, seen)
	})
}

func TestAnObserverEndsWithItsSession(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, s *session.Session) {
		o := queue.Observer{Session: s, Path: path}
		var last error
		var closing sync.WaitGroup // a second Close does not wait for the first
		defer closing.Wait()
		o.Run(t.Context(), func(_ queue.Member, err error) bool {
			if last = err; err == queue.ErrNobody {
				closing.Go(func() { _ = s.Close() })
			}
			return true
		})
		assert.ErrorIs(t, last, session.ErrClosed)
	})
}
