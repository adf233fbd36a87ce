package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// upWithin returns how long it takes until there is a session.
func upWithin(t *testing.T, s *Session, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	require.NoError(t, s.Wait(ctx), "not within %v", limit)
	return time.Since(began)
}

// bubble runs a test in virtual time. A test's own servers may still be asleep when it ends,
// so the bubble lasts until they have woken.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // the first Cleanup is the last to run
		f(t)
	})
}

const slack = 200 * time.Millisecond // G6 leaves time for the candidates after the session
