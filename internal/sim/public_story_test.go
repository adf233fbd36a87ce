package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// Anyone who knows a session's id can end the session, so no text or JSON for publication
// contains it.
func TestWhatIsMeantForPublicationHasNoSession(t *testing.T) {
	tell(t, func(s story) {
		a := s.client("a")
		x, y := s.start(a), s.start(s.client("b"))
		time.Sleep(time.Second) // until y has read the candidate ahead
		first, err := a.Leader(s.Context(), job)
		require.NoError(s, err)
		require.NotZero(s, first.SessionID)
		require.Equal(s, first.SessionID, x.Status().SessionID)
		require.Equal(s, first.SessionID, y.Status().Ahead.SessionID)
		data, err := json.Marshal(y.Status())
		require.NoError(s, err)
		var back election.Status
		require.NoError(s, json.Unmarshal(data, &back))
		ahead := *y.Status().Ahead
		ahead.SessionID = 0
		assert.Equal(s, &ahead, back.Ahead, "all the rest comes back")
		ids := []int64{x.Status().SessionID, y.Status().SessionID}
		for _, v := range []fmt.Stringer{x.Status(), y.Status(), first, x.Term()} {
			data, err := json.Marshal(v)
			require.NoError(s, err)
			for _, text := range []string{string(data), v.String()} {
				for _, id := range ids {
					assert.NotContains(s, text, strconv.FormatInt(id, 10))
					assert.NotContains(s, text, strconv.FormatInt(id, 16))
				}
				assert.NotContains(s, text, "ession")
			}
		}
	})
}
