//go:build linux

package run_test

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/run"
)

// TestMain makes the test binary two programs, by the name that it is called by, each in
// the PATH of the tests.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they mostly wait; without the flag, it is the number of processors
	testscript.Main(m, map[string]func(){"elect": elect, "worker": worker})
}

// elect is the command, of which only run is here.
func elect() {
	run.KeepIfAsked()
	var g struct {
		cli.Flags `embed:""`
		Run       run.Command `cmd:"" help:"Run a command while leading."`
	}
	os.Exit(cli.Main(&g, &g.Flags, os.Args[1:]))
}
