package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A server may have lost the path's pzxid. The Observer then lists the line once more, and
// not for ever.
func TestAnObserverDoubtsOneStateOfALineOnce(t *testing.T) {
	o := Observer{newest: 5}
	assert.False(t, o.remade(Member{Token: 5}))
	assert.True(t, o.remade(Member{Token: 6}))
	assert.False(t, o.remade(Member{Token: 6}), "the line was listed again and is the same")
	o.newest = 7
	assert.False(t, o.remade(Member{Token: 6}))
	assert.True(t, o.remade(Member{Token: 8}))
}
