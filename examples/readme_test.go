package examples_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inGo finds the Go snippets of a Markdown file. A snippet is the body of a function, or
// declarations of a file.
var inGo = regexp.MustCompile("(?s)\n```go\n(.*?)```")

// declared is what the snippets leave to their reader.
const declared = `
var (
	client    *election.Client
	candidate *election.Candidate
	term      *election.Term
	server    interface{ Shutdown(context.Context) error }
	mux       *http.ServeMux
	id        string
	scheduler interface{ Shutdown() error }
	crontab   interface{ Stop() context.Context }
)

func work(context.Context, string, *election.Term) error         { return nil }
func untilTonight() time.Duration                               { return 0 }
func runJob(context.Context, int64)                             {}
func jobs(context.Context) error                                { return nil }
func store(context.Context, any, int64) error                   { return nil }
func importAll(context.Context, int64) error                    { return nil }
func consume(context.Context) error                              { return nil }
func fetch(context.Context, int64) error                         { return nil }
func serve(context.Context, int64) error                         { return nil }
func writeReport(context.Context, int64) error                   { return nil }
func startService(*testing.T, string, ...election.ClientOption) {}

`

// body is what a snippet stands in.
const body = "func _(ctx context.Context, t *testing.T) error {\n%s\n\treturn nil\n}\n"

// packages are what a snippet may use without an import of its own, by name.
var packages = map[string]string{
	"atomic": "sync/atomic", "cron": "github.com/robfig/cron/v3", "electiongocron": "github.com/zkelection/election/contrib/gocron",
	"errgroup": "golang.org/x/sync/errgroup", "gocron": "github.com/go-co-op/gocron/v2",
	"context": "context", "election": "github.com/zkelection/election",
	"electionhttp": "github.com/zkelection/election/electionhttp",
	"electiontest": "github.com/zkelection/election/electiontest", "errors": "errors", "expvar": "expvar", "fmt": "fmt", "http": "net/http", "httptest": "net/http/httptest",
	"json": "encoding/json", "log": "log", "maps": "maps", "net": "net", "os": "os", "rand": "math/rand/v2", "shards": "github.com/zkelection/election/shards", "signal": "os/signal",
	"slices": "slices", "slog": "log/slog", "strconv": "strconv", "strings": "strings", "sync": "sync", "synctest": "testing/synctest",
	"syscall": "syscall", "testing": "testing", "time": "time", "tls": "crypto/tls", "url": "net/url", "zk": "github.com/go-zookeeper/zk",
}

// used finds the names that may be those of packages.
var used = regexp.MustCompile(`\b([a-z]+)\.[A-Z]`)

// declares finds a snippet that begins with a declaration of a file. A comment may stand
// before it.
var declares = regexp.MustCompile(`^(//.*\n|\n)*(func [(A-Za-z]|type )`)

// source is the file that a snippet is compiled in.
func source(snippet string) string {
	if strings.HasPrefix(snippet, "package ") {
		return snippet
	}
	if !declares.MatchString(snippet) {
		snippet = fmt.Sprintf(body, snippet)
	}
	snippet = declared + snippet
	imports := map[string]bool{}
	for _, name := range used.FindAllStringSubmatch(snippet, -1) {
		path, known := packages[name[1]]
		if own := regexp.MustCompile(`\b` + name[1] + `(, \w+)* :=`); known && !own.MatchString(snippet) {
			imports[path] = true
		}
	}
	var file strings.Builder
	file.WriteString("package snippet\n\n")
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&file, "import %q\n", path)
	}
	return file.String() + snippet
}

// snippets returns the Go snippets of a Markdown file.
func snippets(t *testing.T, page string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, m := range inGo.FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	return all
}

// pages returns the pages in docs.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// A reader copies a snippet and expects it to compile.
func TestSnippetsOfEveryReadmeAndPageCompile(t *testing.T) {
	found := map[string]int{}
	var all []string
	for _, page := range append(pages(t), "../README.md", "migration/README.md") {
		switch page { // of other modules: tests of electionprom and examples/fencing hold them to code that is run
		case "../docs/metrics.md", "../docs/fencing.md":
			continue
		}
		some := snippets(t, page)
		found[page] = len(some)
		all = append(all, some...)
	}
	require.Equal(t, [2]int{2, 1}, [2]int{found["../README.md"], found["migration/README.md"]})
	require.NotZero(t, found["../docs/trace.md"])
	out, err := compile(t, all)
	require.NoError(t, err, out)

	others, err := filepath.Glob("*/README.md")
	require.NoError(t, err)
	for _, readme := range others {
		require.Len(t, snippets(t, readme), found[readme], "%s has a snippet that is not compiled here", readme)
	}
}

func TestASnippetThatDoesNotCompileIsFound(t *testing.T) {
	good := []string{"return client.Close()", "// A comment.\nfunc f() error { return errors.New(strconv.Itoa(1)) }",
		"package mine\n\nimport \"fmt\"\n\nvar _ = fmt.Sprint"}
	out, err := compile(t, good)
	require.NoError(t, err, out)
	for _, bad := range []string{"return client.Lead()", "unused := 1", "func f() { return 1 }"} {
		out, err := compile(t, append(good, bad))
		require.Error(t, err)
		require.Contains(t, out, bad, "the snippet is shown")
	}
}

// docs/README.md is the index of docs.
func TestEveryPageIsInTheIndex(t *testing.T) {
	index, err := os.ReadFile("../docs/README.md")
	require.NoError(t, err)
	for _, page := range pages(t) {
		if name := filepath.Base(page); name != "README.md" {
			require.Regexp(t, `(?m)^- \[[^\]]+\]\(`+regexp.QuoteMeta(name)+`\): .+`, string(index), "docs/README.md has no line for %s", name)
		}
	}
}

// compile builds snippets as if each were a package of this module, and returns what the
// compiler says, and the snippet that it says it of. The overlay keeps the files out of
// the repository.
func compile(t *testing.T, all []string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir, replace := t.TempDir(), map[string]string{}
	args := []string{"build", "-overlay", filepath.Join(dir, "overlay.json")}
	for i, snippet := range all {
		name := fmt.Sprintf("snippet%d", i)
		file := filepath.Join(dir, name+".go")
		require.NoError(t, os.WriteFile(file, []byte(source(snippet)), 0o600))
		here, err := filepath.Abs(filepath.Join(name, name+".go"))
		require.NoError(t, err)
		replace[here] = file
		args = append(args, "./"+name)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))

	said, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	out = string(said)
	for i, snippet := range all {
		if strings.Contains(out, fmt.Sprintf("snippet%d.go", i)) {
			out += "\n" + numbered(source(snippet))
		}
	}
	return out, err
}

// numbered is source with the line numbers that the compiler names.
func numbered(source string) string {
	lines := strings.Split(source, "\n")
	for i := range lines {
		lines[i] = fmt.Sprintf("%3d  %s", i+1, lines[i])
	}
	return strings.Join(lines, "\n")
}
