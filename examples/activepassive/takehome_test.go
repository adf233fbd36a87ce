package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/activepassive/internal/cluster"
	"github.com/zkelection/election/internal/zktest"
)

// takeHome copies a program's main.go, and nothing else, into a module of its own outside of the repository, and compiles
// it there into bin, as its reader would.
func takeHome(t *testing.T, program, bin string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(program, "main.go"))
	require.NoError(t, err)
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "main.go"), text, 0o600))
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = home
		// The repository's go.sum has confirmed the modules, so do not ask a checksum
		// database.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOSUMDB=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %v\n%s", args, out)
		return string(out)
	}
	command("mod", "init", "example.com/"+program)
	command("mod", "edit", "-require=github.com/zkelection/election@v0.0.0", "-replace=github.com/zkelection/election="+root)
	command("mod", "tidy")
	command("build", "-o", filepath.Join(bin, program), ".")
}

func TestProgramsTakenHomeRunTheSystem(t *testing.T) {
	zktest.SkipIfShort(t, "NGINX, and a real ZooKeeper")
	bin := t.TempDir()
	takeHome(t, "node", bin)
	takeHome(t, "agent", bin)
	s := startSystemWith(t, cluster.Config{ZooKeeper: ownRoot(t), Nodes: 3, Session: session, Linger: brief, Bin: bin})
	leader := s.node(s.must(http.MethodPost, hello).body)
	s.writesReachTheLeaderAndReadsAreSpread(t)
	require.NoError(t, leader.Terminate())
	require.NoError(t, leader.Wait(s.ctx))
	s.settle("next leader", func() error { return s.out(leader) })
}

// Anybody may import the packages that the programs use, because they import no internal
// package of this repository.
func TestWhatIsTakenHomeImportsNoInternalPackageButTheLibrarys(t *testing.T) {
	const module = "github.com/zkelection/election"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}: {{join .Imports \" \"}}",
		"./node", "./agent", "./board", "./confd", "./discovery").Output()
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(string(out), "\n"))
	for line := range strings.Lines(string(out)) {
		require.NotContains(t, line, module+"/internal")
		require.NotContains(t, line, "examples/internal")
		require.NotContains(t, line, "activepassive/internal")
	}
}
