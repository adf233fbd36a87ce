// Package examples_test checks what the examples have in common: a program to take home,
// app/main.go, in most of them a docker-compose.yml, and READMEs.
package examples_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zksim"
)

// limit bounds a test. It leaves time for the compiler.
const limit = 5 * time.Minute

// takeHome copies only an example's main.go into a module of its own outside of the
// repository, and compiles it there, as its reader would.
func takeHome(t *testing.T, ctx context.Context, example string) (program string) {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(example, "app", "main.go"))
	require.NoError(t, err)
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "main.go"), text, 0o600))
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = home
		// The repository's go.sum has confirmed the modules in the module cache, so do
		// not ask a checksum database.
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOSUMDB=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %v\n%s", args, out)
		return string(out)
	}
	command("mod", "init", "example.com/mine")
	command("mod", "edit", "-require=github.com/zkelection/election@v0.0.0", "-replace=github.com/zkelection/election="+root)
	command("mod", "tidy")
	program = filepath.Join(home, "mine.exe")
	command("build", "-o", program, ".")
	require.Equal(t, []string{"github.com/go-zookeeper/zk", "github.com/zkelection/election"},
		linked(command("version", "-m", program)), "modules in the program")
	return program
}

// linked finds the modules that a program links, in the output of go version -m.
func linked(output string) (modules []string) {
	for _, line := range strings.Split(output, "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "dep" {
			modules = append(modules, words[1])
		}
	}
	return modules
}

// home has a program that was taken home, and the TCP address of a ZooKeeper in memory.
type home struct {
	t                *testing.T
	ctx              context.Context
	connect, program string
}

func (h *home) start(args ...string) *demo.Process {
	h.t.Helper()
	p, err := demo.Start(h.connect, nil, h.program, args...)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

// says waits until p prints the texts, in this order.
func (h *home) says(p *demo.Process, texts ...string) {
	h.t.Helper()
	next := 0
	for _, text := range texts {
		var err error
		next, err = p.Expect(h.ctx, next, text)
		require.NoError(h.t, err)
	}
}

// answers waits until what is at url says text.
func (h *home) answers(url, text string) {
	h.t.Helper()
	require.EventuallyWithT(h.t, func(c *assert.CollectT) {
		response, err := http.Get(url)
		if !assert.NoError(c, err) {
			return
		}
		defer response.Body.Close()
		said, err := io.ReadAll(response.Body)
		assert.NoError(c, err)
		assert.True(c, response.StatusCode == http.StatusOK && strings.HasPrefix(string(said), text), "%d %s", response.StatusCode, said)
	}, limit/5, 20*time.Millisecond)
}

// stop ends p in good order.
func (h *home) stop(p *demo.Process) {
	h.t.Helper()
	require.NoError(h.t, p.Terminate())
	require.NoError(h.t, p.Wait(h.ctx), "SIGTERM is no failure")
}

// silent requires that p has not printed text so far.
func (h *home) silent(p *demo.Process, text string) {
	h.t.Helper()
	require.NotContains(h.t, strings.Join(p.Lines(), "\n"), text)
}

// job tests what each example is about.
var job = map[string]func(h *home){
	"quickstart": func(h *home) {
		first := h.start("-name", "anna")
		h.says(first, "anna joins", "anna leads token=0x", "anna works token=0x")
		second := h.start("-name", "ben")
		h.says(second, "ben joins")
		h.stop(first)
		h.says(first, "anna stops")
		h.says(second, "ben leads token=0x", "ben works token=0x")
		h.stop(second)
	},
	"singleton": func(h *home) { // the second does the job when the session of the first has ended
		crash := h.start("-name", "a", "-crash", "-session-timeout", "1s")
		h.says(crash, "a leads token=0x")
		good := h.start("-name", "b", "-session-timeout", "1s")
		h.says(crash, "a works", "a works", "a tips-over")
		var exit *exec.ExitError
		require.ErrorAs(h.t, crash.Wait(h.ctx), &exit)
		require.True(h.t, crash.Killed())
		h.says(good, "b waits", "b leads token=0x", "b works", "b works")
		require.NoError(h.t, good.Wait(h.ctx), "the job is done")
		h.silent(good, "tips-over")
	},
	"reelection": func(h *home) {
		first := h.start("-name", "one")
		h.says(first, "Connected to ZooKeeper at "+h.connect+", session timeout 2s", "I am one;", "Name: /election/candidate_0000000000",
			"I am the leader")
		second := h.start("-name", "two", "-kill", "docker compose kill two")
		h.says(second, "I am two; to end me as a crash would: docker compose kill two", "Name: /election/candidate_0000000001",
			"I am not the leader, candidate_0000000000 is the leader (one)", "Watching znode candidate_0000000000")
		require.NoError(h.t, first.Kill())
		h.says(second, "); to see who is next: docker compose kill two") // printed when it leads, after the end of its predecessor's session
		h.stop(second)
		h.says(second, "I am the leader no more", "Session closed, exiting application")
	},
	"worker": func(h *home) {
		first := h.start("-name", "service1")
		h.says(first, "service1 Processing... token=0x")
		second := h.start("-name", "service2")
		h.says(second, "service2 sees that the leader is service1")
		h.says(first, "service1 Processing...", "service1 Processing...")
		h.silent(second, "Processing...")
		h.stop(first)
		h.says(second, "service2 leads from now on", "service2 Processing...")
		h.stop(second)
	},
	"kubernetes": func(h *home) { // anna has the write that ben gets, and hands over to carla, who is of another revision
		listens := func(p *demo.Process, name string) (url string) {
			h.says(p, name+" listens at ")
			_, address, _ := strings.Cut(p.Lines()[0], "listens at ")
			return "http://" + address
		}
		start := func(name, revision string) *demo.Process {
			return h.start("-name", name, "-ip", "127.0.0.1", "-listen", "127.0.0.1:0", "-revision", revision)
		}
		first := start("anna", "1")
		h.says(first, "anna leads token=0x", "anna works token=0x")
		second := start("ben", "1")
		url := listens(second, "ben")
		h.answers(url+"/readyz", "ready")
		h.answers(url+"/write", "anna has written 0 bytes, token=0x")
		third := start("carla", "2")
		h.answers(listens(third, "carla")+"/readyz", "ready")
		h.stop(first)
		h.says(third, "carla leads token=0x")
		h.silent(second, "leads")
		h.stop(second)
		h.stop(third)
		h.says(third, "carla leads no more")
	},
	"migration": func(h *home) {
		first := h.start("-name", "go-1")
		h.says(first, "go-1 gained", "go-1 job", "go-1 job")
		second := h.start("-name", "go-2")
		h.stop(first)
		h.says(first, "go-1 lost")
		h.says(second, "go-2 gained", "go-2 job")
		h.stop(second)
	},
}

func TestMainCanBeTakenHomeAndDoesItsJobThere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be asked to stop there")
	}
	for example, does := range job {
		t.Run(example, func(t *testing.T) {
			shortTakes(t, example, "quickstart")
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			zoo := zksim.New(zksim.Config{Tick: 500 * time.Millisecond})
			t.Cleanup(zoo.Close)
			connect, err := zoo.ListenTCP("127.0.0.1:0")
			require.NoError(t, err)
			h := &home{t: t, ctx: ctx, connect: connect, program: takeHome(t, ctx, example)}
			does(h)
			requireOneLineWithoutAnAddress(t, ctx, h.program)
		})
	}
}

// shortTakes skips all examples but one under -short: each takes a compilation, or more.
func shortTakes(t *testing.T, example, one string) {
	t.Helper()
	if testing.Short() && example != one {
		t.Skip("left out by -short, which takes " + one + " alone")
	}
}

// requireOneLineWithoutAnAddress requires that the program ends at once if the
// environment has no address or a wrong one, and prints one line that says what to set or
// what is wrong.
func requireOneLineWithoutAnAddress(t *testing.T, ctx context.Context, program string) {
	t.Helper()
	for servers, want := range map[string]string{"": "set " + demo.Env + " to the address", ":1": `":1" has no host`} {
		cmd := exec.CommandContext(ctx, program)
		cmd.Env = append(os.Environ(), demo.Env+"="+servers)
		said, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%v", err)
		require.Contains(t, string(said), want)
		require.Equal(t, 1, strings.Count(string(said), "\n"), "one line: %s", said)
	}
}

// Every example is in the table above, except activepassive, which has several programs.
func TestEveryExampleHasSomethingToTakeHome(t *testing.T) {
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, mains)
	for _, main := range mains {
		if example := filepath.Dir(main); example != "activepassive" {
			require.Contains(t, job, example)
		}
	}
}

var (
	sourceLink  = regexp.MustCompile("\\[`([A-Za-z.]+)`\\]\\((\\.\\./[a-z./_]+\\.go)\\)")
	declaration = `(?m)^func (\(([a-z]+ )?\*?%s\) )?%s\(`
)

// A reader of the README wants to see how it works, so each function must be where the
// README's table says.
func TestReelectionNamesTheStepsOfTheRecipeWhereTheyAre(t *testing.T) {
	text, err := os.ReadFile("reelection/README.md")
	require.NoError(t, err)
	links := sourceLink.FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(links), 9, "steps")
	for _, link := range links {
		code, err := os.ReadFile(filepath.Join("reelection", link[2]))
		require.NoError(t, err)
		receiver, name, method := strings.Cut(link[1], ".")
		if !method {
			receiver, name = "", receiver
		}
		require.Regexp(t, fmt.Sprintf(declaration, receiver, name), string(code), "%s in %s", link[1], link[2])
	}
}
