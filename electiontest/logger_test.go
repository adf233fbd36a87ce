package electiontest_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// shown is a test whose output can be read.
type shown struct {
	*testing.T
	buf *bytes.Buffer
}

func (s shown) Output() io.Writer { return s.buf }

func TestLoggerShowsWhereAHoldWasTakenThatIsNeverReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		var buf bytes.Buffer
		client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer("a")),
			election.WithClientLogger(electiontest.Logger(shown{t, &buf})))
		require.NoError(t, err)
		defer client.Close()
		candidate, err := election.NewCandidate(client, jobPath)
		require.NoError(t, err)
		term, err := candidate.Await(t.Context())
		require.NoError(t, err)
		_, file, line, _ := runtime.Caller(0)
		_, err = term.Hold()
		require.NoError(t, err)
		require.NoError(t, candidate.Close())
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Contains(t, buf.String(), fmt.Sprintf("taken=%s:%d", file, line+1))
	})
}

func TestLoggerDropsWhatComesAfterTheTest(t *testing.T) {
	var buf bytes.Buffer
	var log *slog.Logger
	t.Run("the service's", func(t *testing.T) {
		log = electiontest.Logger(shown{t, &buf})
		log.Debug("in time")
	})
	log.Info("late")
	assert.Contains(t, buf.String(), "in time")
	assert.NotContains(t, buf.String(), "late")
}
