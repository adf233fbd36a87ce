package machine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client may have thousands of candidates in one line. If each kept the line, that would
// be millions of names.
func TestOfALongLineTheNearestNamesAreKept(t *testing.T) {
	const n = 10_000
	children := make([]string, n)
	for i := range children {
		children[i] = fmt.Sprintf("n%010d", i)
	}
	own, nearest := children[n-3], children[n-4]
	rand.Shuffle(n, func(i, j int) { children[i], children[j] = children[j], children[i] })

	var l lineAhead
	require.True(t, l.relist(children, own, manyAhead))
	assert.Len(t, l.ahead, manyAhead)
	assert.Less(t, cap(l.ahead), 2*manyAhead, "a part of the listing's array would hold all of it")
	assert.Equal(t, nearest, l.nearest())
	assert.Equal(t, n-2, l.place())
	assert.Equal(t, 2, l.behind)
}

// The costs are those of the default names at a path of eight bytes, as they are on the
// wire.
func TestALineIsListedIfThatCostsFewerBytesThanALookAtEach(t *testing.T) {
	const path, name = 8, 56
	for _, c := range []struct {
		left, behind int
		list         bool
	}{
		{1, 0, false}, // 102 bytes, and a listing 177
		{2, 0, true},  // 204
		{2, 1, false}, // the listing 237
		{16, 23, true},
		{16, 25, false}, // 1632 and 1677
	} {
		l := lineAhead{ahead: make([]string, c.left), behind: c.behind}
		assert.Equal(t, c.list, l.cheaperToList(path, name), "%+v", c)
	}
}
