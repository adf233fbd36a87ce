package election_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

func TestCauseIsAShortLabel(t *testing.T) {
	labels := map[error]string{
		nil:                        "",
		election.ErrLeaseExpired:   "lease_expired",
		election.ErrSessionExpired: "session_expired",
		election.ErrNodeDeleted:    "node_deleted",
		election.ErrDisconnected:   "disconnected",
		election.ErrResigned:       "resigned",
		election.ErrUnhealthy:      "unhealthy",
		election.ErrClosed:         "closed",
		election.ErrNoLeader:       "other",
		errors.New("closed"):       "other",
	}
	for err, label := range labels {
		assert.Equal(t, label, election.Cause(err), "%v", err)
		if err == nil {
			continue
		}
		assert.Equal(t, label, election.Cause(fmt.Errorf("wrapped: %w", err)))
		assert.Equal(t, label, election.Cause(fmt.Errorf("%w: %w", election.ErrTermOver, err)), "what Guard returns")
	}
}

func TestATraceThatIsNilIsNamed(t *testing.T) {
	_, err := election.NewClient(nil, time.Second, election.WithTrace(nil))
	require.ErrorContains(t, err, "WithTrace: trace is nil")
}
