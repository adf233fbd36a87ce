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

// Program is what a [Process] runs: one recipe of one library.
type Program struct {
	Recipe   string          // "latch", "selector", "recipe", "kazoo", or "go" for ours
	Naming   election.Naming // for ours
	Within   time.Duration   // for ours: of fast failover; 0: without
	Patterns []string        // for Kazoo: further names that it takes for participants
	// Command returns the command of any other program. Recipe is then only its name. The
	// program must write "ready" and events. It need not obey commands.
	Command func(server string, timeout time.Duration) (*exec.Cmd, error)
}

// The originals in Java that we test together with.
var (
	Latch    = Program{Recipe: "latch"}
	Selector = Program{Recipe: "selector"}
	Recipe   = Program{Recipe: "recipe"}
)

// Kazoo returns the program for Kazoo's Election. patterns are the extra_lock_patterns of
// its lock.
func Kazoo(patterns ...string) Program { return Program{Recipe: "kazoo", Patterns: patterns} }

// Ours returns the program for this library with the given naming. The process runs this
// very program again, which must call [Main].
func Ours(naming election.Naming) Program { return Program{Recipe: "go", Naming: naming} }

// String returns the recipe and the patterns.
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
		args = append(args, string(p.Naming), p.Within.String())
		cmd.Env = append(os.Environ(), peerEnv+"="+strings.Join(args, " "))
		return cmd, nil
	case "kazoo":
		script, err := source("peer.py")
		return exec.Command(python, append(append([]string{script}, args...), p.Patterns...)...), err
	}
	classes, err := compiled()
	return Java(classes, "Peer", args...), err
}

// Java returns the command that runs a class with Curator and ZooKeeper in its class
// path. It uses little memory and only the fast compiler, because many of these processes
// share a small machine and none of them lives long.
func Java(classes, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx64m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", classes + ":" + classPath(), class}, args...)...)
}

// Compile compiles a Java source and writes the classes into dir.
func Compile(dir, source string) error {
	out, err := exec.Command("javac", "-proc:none", "-cp", classPath(), "-d", dir, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("interop: javac: %w\n%s", err, out)
	}
	return nil
}

//go:embed peers
var sources embed.FS

// workspace creates the folder with the sources of the programs and returns it. It does
// so once.
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

// compiled compiles the Java program, once, and returns the folder with its classes.
var compiled = sync.OnceValues(func() (string, error) {
	dir, err := workspace()
	if err != nil {
		return "", err
	}
	return dir, Compile(dir, filepath.Join(dir, "Peer.java"))
})

// removeWorkspace deletes the folder that workspace has created.
func removeWorkspace() error {
	dir, err := workspace()
	return errors.Join(err, os.RemoveAll(dir))
}
