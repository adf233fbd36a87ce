package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALeasesEndIsToldAsItWasWhenItIsFoundOver(t *testing.T) {
	from := time.Now()
	lease := func() *Lease {
		l := new(Lease)
		l.Extend(from, time.Second)
		return l
	}
	end := from.Add(time.Second)

	at, over := new(Lease).Ended(from)
	require.True(t, over)
	require.Zero(t, at, "nothing was proved")

	_, over = lease().Ended(end.Add(-1))
	require.False(t, over)

	at, over = lease().Ended(end.Add(time.Hour))
	require.True(t, over)
	require.Equal(t, end, at, "noticed after a pause")

	l := lease()
	l.end.Store(&expiry{from, from.UnixNano() - int64(time.Hour), time.Second})
	at, over = l.Ended(from)
	require.True(t, over, "by the wall clock, since the monotonic one stood still")
	require.Equal(t, end, at)
}
