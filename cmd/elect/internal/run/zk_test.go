//go:build linux

package run_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/internal/zktest"
)

// servers starts a ZooKeeper that grants session timeouts from 2 s.
func servers(t testing.TB) (connectString string) {
	t.Helper()
	zktest.SkipIfShort(t, "some minutes, and a shell's tools")
	s, err := electiontest.Start(electiontest.WithTick(time.Second))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	at, err := s.ListenTCP()
	require.NoError(t, err)
	return at
}
