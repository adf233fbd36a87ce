package znode

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestBriefCutsLongTextBetweenTwoCharacters(t *testing.T) {
	for _, s := range []string{"", "worker-1", strings.Repeat("x", briefly), strings.Repeat("ü", briefly/2)} {
		require.Equal(t, s, Brief(s))
	}
	for _, unit := range []string{"x", "ü", "語", "🙂", "aü語🙂"} {
		for lead := range 4 {
			s := strings.Repeat("a", lead) + strings.Repeat(unit, briefly)
			cut := Brief(s)
			require.LessOrEqual(t, len(cut), briefly)
			require.Greater(t, len(cut), briefly-8)
			require.True(t, utf8.ValidString(cut), cut)
			require.True(t, strings.HasPrefix(s, strings.TrimSuffix(cut, "…")))
		}
	}
	require.LessOrEqual(t, len(Brief(strings.Repeat("\x80", 1<<20))), briefly, "not valid UTF-8")
}
