package interop

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zkelection/election"
)

// Program is what a Process runs: one recipe of one library.
type Program struct {
	Recipe   string          // "latch", "selector", "recipe", "kazoo", or "go" for ours
	Naming   election.Naming // of ours
	Patterns []string        // of Kazoo's: further names that it takes for participants
	// Command makes the command of a program that is none of the above; Recipe is then only its name. It says
	// "ready" and events, and needs to obey no commands.
	Command func(server string, timeout time.Duration) (*exec.Cmd, error)
}

// The originals that ours are held against.
var (
	Latch    = Program{Recipe: "latch"}
	Selector = Program{Recipe: "selector"}
	Recipe   = Program{Recipe: "recipe"}
)

// Kazoo is Kazoo's Election; patterns are its lock's extra_lock_patterns.
func Kazoo(patterns ...string) Program { return Program{Recipe: "kazoo", Patterns: patterns} }

// Ours is this library, under a naming. The process is this very program again, which must call Main.
func Ours(naming election.Naming) Program { return Program{Recipe: "go", Naming: naming} }

func (p Program) String() string {
	return strings.Join(append([]string{p.Recipe}, p.Patterns...), " ")
}

func (p Program) command(server string, timeout time.Duration) (*exec.Cmd, error) {
	if p.Command != nil {
		return p.Command(server, timeout)
	}
	args := []string{p.Recipe, server, strconv.FormatInt(timeout.Milliseconds(), 10)}
	switch p.Recipe {
	case "go":
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("interop: %w", err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), peerEnv+"="+strings.Join(append(args, string(p.Naming)), " "))
		return cmd, nil
	case "kazoo":
		script, err := source("peer.py")
		return exec.Command(python, append(append([]string{script}, args...), p.Patterns...)...), err
	}
	classes, err := compiled()
	return Java(classes, "Peer", args...), err
}

// Java is the command that runs a class with Curator and ZooKeeper at hand. Many share a small machine, and none lives
// long enough to repay the thorough compiler.
func Java(classes, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx64m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classes + ":" + classPath(), class}, args...)...)
}

// Compile writes the classes of a Java source into dir.
func Compile(dir, source string) error {
	out, err := exec.Command("javac", "-proc:none", "-cp", classPath(), "-d", dir, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("interop: javac: %w\n%s", err, out)
	}
	return nil
}

//go:embed peers
var sources embed.FS

// workspace is where the programs' sources are unpacked and compiled, once a process.
var workspace = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "election-interop-")
	if err != nil {
		return "", fmt.Errorf("interop: %w", err)
	}
	for _, name := range []string{"Peer.java", "peer.py"} {
		text, err := sources.ReadFile("peers/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return dir, fmt.Errorf("interop: %w", err)
		}
	}
	return dir, nil
})

func source(name string) (string, error) {
	dir, err := workspace()
	return filepath.Join(dir, name), err
}

// compiled returns where the Java program's classes are.
var compiled = sync.OnceValues(func() (string, error) {
	dir, err := workspace()
	if err != nil {
		return "", err
	}
	return dir, Compile(dir, filepath.Join(dir, "Peer.java"))
})

// removeWorkspace removes what workspace made.
func removeWorkspace() error {
	dir, err := workspace()
	return errors.Join(err, os.RemoveAll(dir))
}
