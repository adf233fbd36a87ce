package electiontest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// reported is a ledger, a replica, and a term of it that lasts.
func reported(t *testing.T) (l *ledger, r *Replica, term *election.Term, log *[]string) {
	t.Helper()
	rival := New(t).Rival("/job")
	term, err := rival.Await(t.Context())
	require.NoError(t, err)
	log = new([]string)
	l = newLedger(time.Second, func(format string, args ...any) { *log = append(*log, fmt.Sprintf(format, args...)) })
	return l, &Replica{name: "a"}, term, log
}

// A killed process does nothing any more, but its goroutines here may go on for a while.
func TestLedgerIgnoresAProcessThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, a, term, log := reported(t)
		b := &Replica{name: "b"}
		end := l.begin(a, term)
		l.leave(a, "is killed")
		l.leave(a, "returns: context canceled")
		l.begin(b, term)()
		l.write(b, "table", 9)

		l.write(a, "table", 3)
		l.begin(a, term)()
		l.begin(a, nil)()
		end()
		require.Empty(t, l.verdict())
		begun, writes := l.counts()
		require.Equal(t, []int{2, 1}, []int{begun, writes})
		_, now := l.working()
		require.False(t, now)
		hex := fmt.Sprintf("%#x", term.Token())
		require.Equal(t, []string{"a begins work, token " + hex, "a is killed", "b begins work, token " + hex, "b ends work, token " + hex}, *log)
	})
}

// A work that stops at the last moment of its grace is in time, and one that does not is
// late.
func TestLedgerCountsTheGraceFromTheEndOfTheTerm(t *testing.T) {
	for late, want := range map[time.Duration]string{0: "", 2 * time.Millisecond: "a works on 1s after the end of its term"} {
		synctest.Test(t, func(t *testing.T) {
			zk := New(t)
			rival := zk.Rival("/job")
			term, err := rival.Await(t.Context())
			require.NoError(t, err)
			l := newLedger(time.Second, func(string, ...any) {})
			end := l.begin(&Replica{name: "a"}, term)
			time.Sleep(time.Hour)
			require.NoError(t, rival.Resign(t.Context()))
			time.Sleep(time.Second + late)
			end()
			end()
			time.Sleep(time.Hour)
			if want == "" {
				require.Empty(t, l.verdict())
			} else {
				require.Contains(t, l.verdict(), want)
			}
		})
	}
}

// Tokens are compared by resource, and an equal one is as good.
func TestLedgerComparesTheTokensOfOneResource(t *testing.T) {
	l := newLedger(0, func(string, ...any) {})
	a, b := &Replica{name: "a"}, &Replica{name: "b"}
	l.write(a, "x", 5)
	l.write(a, "x", 5)
	l.write(b, "y", 3)
	l.write(b, "x", 6)
	require.Empty(t, l.verdict())
	l.write(a, "x", 5)
	require.Contains(t, l.verdict(), `a token goes back: a writes to "x" with token 0x5, and b began to write with 0x6`)
	first := l.verdict()
	l.write(b, "y", 1)
	require.Equal(t, first, l.verdict(), "the first violation counts")
}
