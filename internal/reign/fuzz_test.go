package reign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/reign"
)

// FuzzRecord reads what anybody may have written to the path of an election with strict
// hand-over. It is no record, or one that a candidate could have written: its time is
// between 1 ms and an hour, so that nobody waits for ever.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"reign":"0x1f","b":3334,"left":false}`))
	f.Add([]byte(`{"reign":"0xffffffffffffffff","b":3600000,"left":true}`))
	f.Add([]byte(`{"reign":"0x1f","b":3600001}`))
	f.Add([]byte(`{"reign":31,"b":-1}`))
	f.Add([]byte(`{"reign":"0x1f","b":-1}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reign.Decode(data)
		if r == (reign.Record{}) {
			return
		}
		require.NotZero(t, r.Reign)
		require.GreaterOrEqual(t, r.Lasts, time.Millisecond)
		require.LessOrEqual(t, r.Lasts, time.Hour)
		require.Greater(t, reign.Wait(r.Lasts), r.Lasts)
		require.Equal(t, r, reign.Decode(r.Encode()))
	})
}
