package znode

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSequenceReadsTheTenDigitsAtTheEndWhateverTheNameIs(t *testing.T) {
	for name, want := range map[string]int32{
		"_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-latch-0000000007": 7,
		"_c_6d3c1b1e-4f33-4d67-a7a0-2f0f8c0d9b11-lock-0000000012":  12,
		"6d3c1b1e4f334d67a7a02f0f8c0d9b11__lock__0000000003":       3,
		"n_0000000000":             0,
		"candidate_0000000042":     42,
		"0000000042":               42,
		"n_2147483647":             2147483647,
		"n_-2147483648":            -2147483648,
		"x-latch--2147483648":      -2147483648,
		"x-latch--2147483647":      -2147483647,
		"x-latch--000000001":       -1,
		"n_-000000012":             -12,
		"-000000012":               -12,
		"x-latch-1000000000":       1000000000,
		"prefix9-latch-0000000001": 1,
		"job--0000000001":          1, // ten digits with a leading 0 are no number with a sign
		"job_-0999999999":          999999999,
		"-0000000001":              1,
	} {
		seq, ok := Sequence(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, int32(seq), name)
	}
}

func TestAPrefixIsPlainUnlessItEndsInWhatMayBeASign(t *testing.T) {
	for prefix, want := range map[string]bool{"_c_x-latch-": true, "n_": true, "x__lock__": true, "candidate": true,
		"": true, "2024-": true,
		"job--": false, "job_-": false, "-": false} {
		assert.Equal(t, want, Plain(prefix), prefix)
	}
}

func TestChildrenWithoutASequenceNumberAreNoCandidates(t *testing.T) {
	for _, name := range []string{"", "_c_x", "0-note", "n_", "n_123", "lock", "n_00000000x1", "note-123456789",
		"0000000001-", "n_--00000001"} {
		_, ok := Sequence(name)
		assert.False(t, ok, name)
	}
	assert.Empty(t, Sort([]string{"_c_x", "0-note", ""}))
}

func TestTheOrderIsRightAcrossTheWrapOfTheCounter(t *testing.T) {
	line := []string{"n_2147483646", "n_2147483647", "n_-2147483648", "n_-2147483647", "n_-2147483646"}
	assert.Equal(t, line, Sort(shuffled(line)))
	aroundZero := []string{"n_-000000002", "n_-000000001", "n_0000000000", "n_0000000001"}
	assert.Equal(t, aroundZero, Sort(shuffled(aroundZero)))
	wide := []string{"n_2147483647", "n_2147483648", "n_2147483649"} // a counter that does not wrap
	assert.Equal(t, wide, Sort(shuffled(wide)))
}

// The reference knows the true order: it counts up from a random start, without a ring.
func TestSortAgreesWithCountingUp(t *testing.T) {
	for range 300 {
		next := rand.Int64N(1 << 33)
		var want []string
		for range rand.IntN(30) + 1 {
			next += rand.Int64N(1 << 25)
			want = append(want, fmt.Sprintf("x-latch-%010d", int32(next)))
		}
		require.Equal(t, want, Sort(shuffled(want)))
	}
}

func TestAheadKeepsThoseBeforeOwnAndSaysWhenOwnIsMissing(t *testing.T) {
	children := []string{"n_0000000003", "b-latch-0000000001", "junk", "a-lock-0000000002", "n_0000000004"}
	ahead, behind, found := Ahead(children, "n_0000000003")
	assert.True(t, found)
	assert.Equal(t, []string{"b-latch-0000000001", "a-lock-0000000002"}, ahead)
	assert.Equal(t, 1, behind)
	_, _, found = Ahead(children, "n_0000000009")
	assert.False(t, found)
}

func TestPrefixFillsTheTemplate(t *testing.T) {
	u := NewUUID()
	assert.Len(t, Prefix("_c_{uuid}-latch-", u), len("_c_-latch-")+36)
	assert.Len(t, Prefix("{hex}__lock__", u), len("__lock__")+32)
	assert.Equal(t, "n_", Prefix("n_", u))
	assert.NotEqual(t, Prefix("{hex}", u), Prefix("{hex}", NewUUID()))
	assert.Equal(t, strings.ReplaceAll(Prefix("{uuid}", u), "-", ""), Prefix("{hex}", u))
}

func TestCheckPathNamesWhatIsWrong(t *testing.T) {
	for path, want := range map[string]string{
		"": "empty", "a": "start", "/a/": "ends", "/a//b": "//", "/a/./b": "relative", "/..": "relative",
		"/a\x00": "character", "/a\u0085": "character", "/a\ufff1": "character", "/a\xff": "character",
		"/😀": "character", "/" + strings.Repeat("a/", maxLen/2) + "a": "262146 bytes",
	} {
		assert.ErrorContains(t, CheckPath(path), want, "%q", path)
	}
	for _, path := range []string{"/", "/a", "/a/b.c", "/a/...", "/größe/日本"} {
		assert.NoError(t, CheckPath(path), path)
	}
}

func TestParentsAndJoin(t *testing.T) {
	assert.Equal(t, []string{"/a", "/a/b"}, Parents("/a/b/c"))
	assert.Empty(t, Parents("/a"))
	assert.Equal(t, "/a", Join("/", "a"))
	assert.Equal(t, "/a/b", Join("/a", "b"))
}

func shuffled(names []string) []string {
	out := slices.Clone(names)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func FuzzSequenceNeverPanics(f *testing.F) {
	f.Add("n_0000000001")
	f.Add("-")
	f.Fuzz(func(t *testing.T, name string) {
		_, _ = Sequence(name)
		Sort([]string{name, "n_0000000001"})
	})
}
