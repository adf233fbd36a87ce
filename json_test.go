package election_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// A JSON number above 2^53 loses digits in most readers, and czxids are larger.
func TestTokensAreHexadecimalStringsInJSON(t *testing.T) {
	for _, token := range []int64{0, 0x1f, 1<<53 + 1, math.MaxInt64, -1} {
		p := election.Participant{ID: "a", Path: "/job/n_1", Token: token, Leader: true,
			Since: time.UnixMilli(token & 0xffffffff).UTC(), Metadata: map[string]string{"a=b": "c&d"}}
		s := election.Status{Path: "/job", ID: "b", State: election.StateFollowing, Since: time.Unix(1, 2).UTC(), Place: 2, Token: token,
			Ahead: &p, Timeout: time.Second, LastError: "x"}

		text, err := json.Marshal(s)
		require.NoError(t, err)
		var back election.Status
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, s, back, "%s", text)

		text, err = json.Marshal(&p)
		require.NoError(t, err)
		var other election.Participant
		require.NoError(t, json.Unmarshal(text, &other))
		assert.Equal(t, p, other, "%s", text)
	}

	p := election.Participant{ID: "a", Path: "/job/n_1", Token: 0x1f, SessionID: 0x2a}
	text, err := json.Marshal([]any{p, election.Status{Token: 0x2b, Ahead: &p}, election.Status{}})
	require.NoError(t, err)
	var all []map[string]any
	require.NoError(t, json.Unmarshal(text, &all))
	assert.Equal(t, map[string]any{"id": "a", "path": "/job/n_1", "token": "0x1f", "leader": false}, withoutNew(all[0]))
	assert.Equal(t, "0x2b", all[1]["token"])
	assert.Equal(t, all[0], all[1]["ahead"])
	assert.NotContains(t, all[2], "token", "it is not known")
	assert.NotContains(t, string(text), "42", "the session")
	assert.NotContains(t, string(text), "2a", "the session")
}

// withoutNew keeps the fields that this test is about.
func withoutNew(fields map[string]any) map[string]any {
	kept := map[string]any{}
	for _, name := range []string{"id", "path", "token", "leader"} {
		kept[name] = fields[name]
	}
	return kept
}

func TestJSONOfSomethingElseChangesNothing(t *testing.T) {
	for _, bad := range []string{`{"token": 31}`, `{"token": "thirty"}`, `{"token": "0x10000000000000000"}`, `{"id": 1}`, `[]`} {
		p, s := election.Participant{ID: "a", Token: 1}, election.Status{ID: "b", Token: 2}
		assert.Error(t, json.Unmarshal([]byte(bad), &p), bad)
		assert.Error(t, json.Unmarshal([]byte(bad), &s), bad)
		assert.Equal(t, election.Participant{ID: "a", Token: 1}, p)
		assert.Equal(t, election.Status{ID: "b", Token: 2}, s)
	}
	p := election.Participant{ID: "a", Token: 1}
	require.NoError(t, json.Unmarshal([]byte(`{"leader": true}`), &p))
	assert.Equal(t, election.Participant{ID: "a", Token: 1, Leader: true}, p, "what is left out stays")
}
