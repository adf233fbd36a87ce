package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShutGateLetsNobodyInAndWaitsForThoseInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		require.True(t, g.enter())
		require.True(t, g.enter())
		shut := make(chan error, 1)
		go func() { shut <- g.shut(t.Context()) }()
		synctest.Wait()
		require.True(t, g.isShut())
		require.False(t, g.enter())
		g.leave()
		synctest.Wait()
		require.Empty(t, shut, "one is still inside")
		g.leave()
		require.NoError(t, <-shut)
		require.NoError(t, g.shut(t.Context()), "a second time does no harm")
	})
}

func TestShutGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		require.True(t, g.enter())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, g.shut(ctx), "still at work")
		g.leave()
	})
}
