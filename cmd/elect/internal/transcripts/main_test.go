package transcripts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// binary is the directory of the command under test.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "elect")
	if err == nil {
		defer os.RemoveAll(dir)
		binary = dir
		name := filepath.Join(dir, "elect")
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		var out []byte
		out, err = exec.Command("go", "build", "-o", name, "github.com/zkelection/election/cmd/elect").CombinedOutput()
		fmt.Fprintf(os.Stderr, "%s", out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build elect:", err)
		return 1
	}
	return m.Run()
}

func params() testscript.Params {
	return testscript.Params{
		Cmds:                maps.Clone(commands),
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	}
}

func TestScripts(t *testing.T) {
	p := params()
	p.Dir = "testdata"
	testscript.Run(t, p)
}

// patience is how long a script waits for what has to happen. Only a test that fails waits
// that long.
const patience = time.Minute
