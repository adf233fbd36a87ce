package machine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// If it did not wait, the record could name a reign that never says that it has left, and the next in line would wait for it.
func TestACandidateThatLeavesWaitsForTheAnswerToItsBeginning(t *testing.T) {
	const own, session, token, version = "n0000000001", 7, 100, 4
	m := New(Config{StrictHandover: true, Strict: true})
	step := func(ev Event) []Action { return m.Step(ev, true) }
	step(Online{Session: session})
	step(Start{})
	step(Created{Name: own, Listing: true})
	gen := m.View().NodeGen
	step(OwnRead{NodeGen: gen, Token: token, Owner: session, Session: session})
	step(Listed{NodeGen: gen, Children: []string{own}})
	require.Contains(t, step(RecordRead{NodeGen: gen, Version: version, Reign: 1, Left: true, Alone: true}),
		Begin{NodeGen: gen, Name: own, Token: token, Version: version})

	for _, a := range step(Close{}) {
		_, deletes := a.(Delete)
		assert.False(t, deletes, "%+v", a)
	}
	require.Equal(t, Leaving, m.View().State)
	require.Contains(t, step(Begun{NodeGen: gen, Version: version}),
		Delete{NodeGen: gen, Name: own, Mark: true, Token: token, Version: version + 1})
}
