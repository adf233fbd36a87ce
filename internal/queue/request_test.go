package queue_test

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/queue"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/zksim"
)

// Between the leader's reading and its answer, one operator withdraws and another one makes a
// request. Both requests have version 0.
func TestAnAnswerToAWithdrawnRequestMakesTheNextOneVoid(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, leader *session.Session) {
		require.NoError(t, e.Create("/app", nil))
		one, two := dial(t, e), dial(t, e)
		defer one.Close()
		defer two.Close()
		first, second := queue.RequestsAt(one, path), queue.RequestsAt(two, path)
		require.NoError(t, first.Make(queue.Request{By: "one", What: queue.AskHandOver, Token: 7, To: "b"}))
		found, err := queue.RequestsAt(leader, path).Look()
		require.NoError(t, err)
		require.NoError(t, first.Remove("one", false))
		require.NoError(t, second.Make(queue.Request{By: "two", What: queue.AskResign, Token: 7}))

		assert.ErrorIs(t, queue.RequestsAt(leader, path).Answer(found, queue.Taken), zk.ErrNoNode)
		changed, err := queue.RequestsAt(leader, path).Look()
		require.NoError(t, err)
		assert.Zero(t, changed.Request, "it is void")
		require.NoError(t, second.Remove("two", true))
		_, there := e.Get(path + ".request")
		assert.False(t, there, "its operator knows it for its own")
	})
}

func TestAnAnswerIsWrittenToTheRequestThatWasFound(t *testing.T) {
	try(t, func(t *testing.T, e *zksim.Ensemble, leader *session.Session) {
		require.NoError(t, e.Create("/app", nil))
		one := dial(t, e)
		defer one.Close()
		first, at := queue.RequestsAt(one, path), queue.RequestsAt(leader, path)
		require.NoError(t, first.Make(queue.Request{By: "one", What: queue.AskResign, Token: 7}))
		found, err := at.Look()
		require.NoError(t, err)
		require.NoError(t, at.Answer(found, queue.Taken))
		answered, err := first.Look()
		require.NoError(t, err)
		assert.Equal(t, queue.Request{By: "one", What: queue.AskResign, Token: 7, Answer: queue.Taken}, answered.Request)
		assert.Equal(t, found.Made, answered.Made)
		assert.ErrorIs(t, at.Answer(found, "no"), zk.ErrBadVersion)
		assert.ErrorIs(t, first.Remove("one", true), queue.ErrAnswered)
	})
}
