package cli

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachShellIsToldToAskThisProgram(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for shell := range completions {
		var out bytes.Buffer
		require.NoError(t, (&Completion{Shell: shell}).Run(&Env{Stdout: &out}))
		require.Contains(t, out.String(), "'"+self+"'")
		require.NotContains(t, out.String(), "BIN")
	}
}
