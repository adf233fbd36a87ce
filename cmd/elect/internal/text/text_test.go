package text

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnAgeHasItsTwoLargestUnits(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": -time.Hour, "42s": 42*time.Second + 999*time.Millisecond, "59s": time.Minute - 1, "1m0s": time.Minute,
		"3m12s": 192 * time.Second, "59m59s": time.Hour - 1, "5h3m": 5*time.Hour + 3*time.Minute + 59*time.Second,
		"23h59m": 24*time.Hour - 1, "2d7h": 55*time.Hour + time.Minute,
	} {
		require.Equal(t, want, Age(d))
	}
	require.Equal(t, "0s", Age(999*time.Millisecond))
}

func TestOrdinals(t *testing.T) {
	for n, want := range map[int]string{1: "first", 2: "second", 3: "third", 4: "4th", 10: "10th", 11: "11th", 12: "12th", 13: "13th",
		20: "20th", 21: "21st", 22: "22nd", 23: "23rd", 111: "111th", 121: "121st"} {
		require.Equal(t, want, Ordinal(n))
	}
}

func TestPlainTextCannotHarmATerminal(t *testing.T) {
	require.Equal(t, "?[31mred?", Plain("\x1b[31mred\n"))
	require.Equal(t, "größe 日本", Plain("größe 日本"))
	require.Equal(t, "a?b\ufffd", Plain("a\u202eb\xff"))
	require.LessOrEqual(t, len(Plain(strings.Repeat("x", 1000))), 200)
}

func TestColoursDoNotMoveTheColumns(t *testing.T) {
	table := &Table{}
	table.Row(Head, "ID", "TOKEN")
	table.Row(Leader, "worker-1", "0x1")
	table.Row(Normal, "b", "")
	var plain, coloured strings.Builder
	require.NoError(t, table.Write(&plain, false))
	require.NoError(t, table.Write(&coloured, true))
	require.Equal(t, "ID        TOKEN\nworker-1  0x1\nb\n", plain.String())
	require.Equal(t, "\x1b[1mID        TOKEN\x1b[0m\n\x1b[32mworker-1  0x1\x1b[0m\nb\n", coloured.String())
}
