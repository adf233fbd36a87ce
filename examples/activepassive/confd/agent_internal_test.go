package confd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/internal/zktest"
)

func TestMain(m *testing.M) { os.Exit(zktest.Main(m)) }

// resource returns a template resource in a folder of its own. Its template lists the
// keys of /things.
func resource(t *testing.T, check, reload string) Template {
	t.Helper()
	dir := t.TempDir()
	text := `{{range gets "/things/*"}}{{.Key}}={{.Value}} {{end}}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in.tmpl"), []byte(text), 0o600))
	file := filepath.Join(dir, "t.toml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "[template]\nsrc = 'in.tmpl'\ndest = 'out'\nkeys = ['/things/']\n"+
		"check_cmd = %q\nreload_cmd = %q\n", check, reload), 0o600))
	tmpl, err := Load(file)
	require.NoError(t, err)
	return tmpl
}

func read(t *testing.T, tmpl Template) string {
	t.Helper()
	text, err := os.ReadFile(tmpl.Dest)
	require.NoError(t, err)
	return string(text)
}

func thing(name, value string) map[string][]discovery.Entry {
	return map[string][]discovery.Entry{"/things/": {{Key: "/things/" + name, Value: value}}}
}

func agent(tmpl Template) *Agent { return &Agent{Template: tmpl, Log: slog.New(slog.DiscardHandler)} }

// connect returns the registry that a client with a session of its own reaches.
func connect(t *testing.T, at string) *discovery.Registry {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	client, err := election.Open(at, election.WithSessionTimeout(4*time.Second), election.WithClientLogger(quiet))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return discovery.New(client, at, quiet)
}

func TestLoadReadsThePostsFile(t *testing.T) {
	got, err := Load("../nginx/nginx.conf.toml")
	require.NoError(t, err)
	require.Equal(t, "../nginx/services.conf.tmpl", got.Src)
	require.Equal(t, "/etc/nginx/nginx.conf", got.Dest)
	require.Equal(t, []string{"/service-discovery/bookService/"}, got.Keys)
	require.Equal(t, "/usr/sbin/nginx -t -c {{.src}}", got.CheckCmd)
	require.Contains(t, got.ReloadCmd, "-s reload")
}

func TestLoadNamesEveryMistake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "t.toml")
	require.NoError(t, os.WriteFile(file, []byte("[template]\nsrc = 'a'\ncheck_comand = 'x'\n"), 0o600))
	_, err := Load(file)
	for _, part := range []string{"template.check_comand", "template.dest is missing", "template.keys is missing"} {
		require.ErrorContains(t, err, part)
	}
}

func TestFileIsReplacedAndReloadedOnChangeOnly(t *testing.T) {
	count := filepath.Join(t.TempDir(), "reloads")
	a := agent(resource(t, "", "echo once >> "+Quote(count)))
	for range 3 {
		require.NoError(t, a.update(t.Context(), thing("x", "1")))
	}
	require.Equal(t, "/things/x=1 ", read(t, a.Template))
	reloads, err := os.ReadFile(count)
	require.NoError(t, err)
	require.Equal(t, "once\n", string(reloads))
}

func TestLastGoodFileStaysWhenTheCheckFails(t *testing.T) {
	a := agent(resource(t, "grep -q good {{.src}}", "false"))
	a.Template.ReloadCmd = ""
	require.NoError(t, a.update(t.Context(), thing("x", "good")))
	err := a.update(t.Context(), thing("x", "bad"))
	require.ErrorContains(t, err, "check_cmd")
	require.ErrorContains(t, err, "stays as it is")
	require.Equal(t, "/things/x=good ", read(t, a.Template))
	left, err := filepath.Glob(filepath.Join(filepath.Dir(a.Template.Dest), ".out.*"))
	require.NoError(t, err)
	require.Empty(t, left, "nothing staged is left behind")
}

func TestReloadIsDueUntilItSucceeds(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	a := agent(resource(t, "", "test -e "+Quote(ready)))
	require.ErrorContains(t, a.update(t.Context(), thing("x", "1")), "reload_cmd")
	require.ErrorContains(t, a.update(t.Context(), thing("x", "1")), "reload_cmd")
	require.NoError(t, os.WriteFile(ready, nil, 0o600))
	require.NoError(t, a.update(t.Context(), thing("x", "1")))
	require.NoError(t, os.Remove(ready))
	require.NoError(t, a.update(t.Context(), thing("x", "1")), "and then no more")
}

func TestJunkInTheRegistryIsAnErrorAndChangesNothing(t *testing.T) {
	a := agent(resource(t, "", ""))
	require.NoError(t, os.WriteFile(a.Template.Src, []byte(`{{range gets "/things/*"}}{{$d := json .Value}}{{$d.port}}{{end}}`), 0o600))
	require.NoError(t, a.update(t.Context(), thing("x", `{"port":8070}`)))
	require.ErrorContains(t, a.update(t.Context(), thing("x", "junk")), "junk")
	require.ErrorContains(t, a.update(t.Context(), thing("x", `{"no":"port"}`)), "port")
	require.Equal(t, "8070", read(t, a.Template))
}

// A process that writes a bad entry into the registry must not keep the balancer from
// following the others.
func TestWhatIsNoInstanceIsLeftOutAndTheOthersAreServed(t *testing.T) {
	a := agent(resource(t, "", ""))
	require.NoError(t, os.WriteFile(a.Template.Src, []byte(
		`{{range instances (gets "/things/*")}}{{$d := json .Value}}{{$d.address}}:{{$d.port}} {{else}}nobody {{end}}`+
			`{{with leader (gets "/things/*")}}leader {{.address}}:{{.port}}{{end}}`), 0o600))
	var log strings.Builder
	a.Log = slog.New(slog.NewTextHandler(&log, nil))
	junk := []string{"junk", "", "null", "[]", `"text"`, `{"no":"port"}`, `{"address":"h","port":"80"}`, `{"address":"h","port":0}`,
		`{"address":"h","port":65536}`, `{"address":"","port":80}`, `{"address":"h; } evil {","port":80}`,
		`{"address":"h; }","port":80,"payload":{"leader":true}}`}
	entries := thing("good", `{"address":"10.0.0.1","port":8070,"payload":{"leader":true}}`)
	entries["/things/"][0].Modified = 1
	for i, value := range junk {
		e := discovery.Entry{Key: fmt.Sprintf("/things/junk-%02d", i), Value: value, Modified: int64(i + 2)}
		entries["/things/"] = append(entries["/things/"], e)
	}
	require.NoError(t, a.update(t.Context(), entries))
	require.Equal(t, "10.0.0.1:8070 leader 10.0.0.1:8070", read(t, a.Template))
	for i := range junk {
		require.Contains(t, log.String(), fmt.Sprintf("/things/junk-%02d", i))
	}
	require.NoError(t, a.update(t.Context(), thing("x", "junk")))
	require.Equal(t, "nobody ", read(t, a.Template))
}

// The file is up to date with the registry, so only the start itself makes the agent
// reload.
func TestAgentReloadsWhenItStartsUnlessItRunsOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	registry := connect(t, zktest.Shared(t).Addr())
	reloaded := filepath.Join(t.TempDir(), "reloaded")
	start := func(tmpl Template, once bool) (ended <-chan error, end func()) {
		ctx, cancel := context.WithCancel(ctx)
		a, done := agent(tmpl), make(chan error, 1)
		a.Registry = registry
		go func() { done <- a.Run(ctx, once) }()
		return done, cancel
	}
	tmpl := resource(t, "", "")
	first, end := start(tmpl, true) // as if it had been killed before the reload
	defer end()
	require.NoError(t, <-first)
	tmpl.ReloadCmd = "echo yes > " + Quote(reloaded)
	again, end := start(tmpl, true)
	defer end()
	require.NoError(t, <-again)
	require.NoFileExists(t, reloaded, "once, because the file was up to date")

	next, end := start(tmpl, false)
	await(t, ctx, Template{Dest: reloaded}, "yes\n")
	end()
	require.NoError(t, <-next)
}

func TestQuotedIsOneWord(t *testing.T) {
	out := filepath.Join(t.TempDir(), "it's a file")
	require.NoError(t, run(t.Context(), "test", "echo x > "+Quote(out)))
	require.FileExists(t, out)
}

func TestAgentFollowsTheRegistryAndKeepsTheFileWhileItIsAway(t *testing.T) {
	server := zktest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	registry := connect(t, server.Addr())
	a := agent(resource(t, "", ""))
	a.Registry = registry
	a.Template.Keys = []string{"/registry/things"}
	require.NoError(t, os.WriteFile(a.Template.Src, []byte(`{{range gets "/registry/things/*"}}{{$d := json .Value}}{{$d.port}} {{end}}`), 0o600))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, false) }()

	register := func(port int) *discovery.Registration {
		r, err := registry.Register(ctx, "/registry", discovery.NewInstance("things", "h", port))
		require.NoError(t, err)
		return r
	}
	first := register(1)
	await(t, ctx, a.Template, "1 ")
	require.NoError(t, server.Stop(ctx))
	require.Equal(t, "1 ", read(t, a.Template))
	require.NoError(t, server.Restart(ctx))
	register(2)
	require.NoError(t, first.Close(ctx))
	await(t, ctx, a.Template, "2 ")
	cancel()
	require.NoError(t, <-done)
}

// await polls, because it waits for the content of a file.
func await(t *testing.T, ctx context.Context, tmpl Template, want string) {
	t.Helper()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for {
		text, err := os.ReadFile(tmpl.Dest)
		if err == nil && string(text) == want {
			return
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			require.FailNow(t, "not rendered", "want %q, have %q, %v", want, text, errors.Join(err, ctx.Err()))
		}
	}
}

func TestWhatIsNotOnThisMachineIsNamed(t *testing.T) {
	good := resource(t, "test -s {{.src}}", "")
	require.NoError(t, good.Missing())
	quoted := resource(t, "'/no such' {{.src}}", "")
	require.NoError(t, quoted.Missing(), "the shell's own matter")
	require.EqualError(t, resource(t, "/nowhere/sbin/nginx -t -c {{.src}}", "").Missing(),
		"check_cmd: /nowhere/sbin/nginx is not installed: install NGINX (Debian, Ubuntu: apt-get install nginx), or set check_cmd to where it is")
	require.NoError(t, os.Remove(good.Src))
	require.ErrorContains(t, good.Missing(), "template.src")
}
