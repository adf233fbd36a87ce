package transcripts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// page is the page of sessions at a terminal. Each is a block of the language console. A
// comment before it is a script that makes what the session finds there, and a line
// "meanwhile:" before a command of the script puts that behind the first line of output of a
// session that ends with Ctrl-C. SESSION is the name of that.
const page = "../../../../docs/operating.md"

var (
	comment = regexp.MustCompile(`(?s)<!-- script\n(.*?)-->`)
	session = regexp.MustCompile("(?s)```console\n(.*?)```")
	either  = regexp.MustCompile("(?s)<!-- script\n.*?-->|```console\n.*?```")
)

// sessions turns the page into one script.
func sessions(text string) (script string, commands int) {
	var steps, files strings.Builder
	var meanwhile []string
	for _, part := range either.FindAllString(text, -1) {
		if m := comment.FindStringSubmatch(part); m != nil {
			for line := range strings.Lines(m[1]) {
				if later, found := strings.CutPrefix(line, "meanwhile: "); found {
					meanwhile = append(meanwhile, strings.TrimSpace(later))
				} else {
					steps.WriteString(line)
				}
			}
			continue
		}
		body := session.FindStringSubmatch(part)[1]
		for _, one := range strings.Split("\n"+body, "\n$ ")[1:] {
			command, output, _ := strings.Cut(one, "\n")
			commands++
			name := fmt.Sprintf("session%d", commands)
			fmt.Fprintf(&files, "-- %s --\n%s\n", name, strings.TrimSuffix(output, "\n"))
			if strings.HasSuffix(strings.TrimSpace(output), "^C") {
				first := strings.SplitN(output, "\n", 2)[0]
				fmt.Fprintf(&steps, "start %s %s\nuntil %s '%s'\n", name, command, name, pattern(first))
				steps.WriteString(strings.ReplaceAll(strings.Join(append(meanwhile, ""), "\n"), "SESSION", name))
				meanwhile = nil
				last := strings.Split(strings.TrimSpace(output), "\n")
				fmt.Fprintf(&steps, "until %s '%s'\nshows %s ^C\n", name, pattern(last[len(last)-2]), name)
				continue
			}
			if command == "echo $?" {
				command = "exit-code" // testscript would expand it
			}
			fmt.Fprintf(&steps, "shows %s %s\n", name, command)
		}
	}
	return steps.String() + files.String(), commands
}

// What differs from one run to the next.
var (
	clockTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	token     = regexp.MustCompile(`0x[0-9a-f]+`)
	age       = regexp.MustCompile(`\b(\d+d\d+h|\d+h\d+m|(\d+m)?\d+s)\b`)
	address   = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	uuid      = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	spaces    = regexp.MustCompile(`[ \t]+`)
)

// masked replaces what differs from one run to the next, and the widths of columns, which
// depend on that.
func masked(s string) string {
	for _, m := range []struct {
		re *regexp.Regexp
		by string
	}{{clockTime, "TIME"}, {token, "TOKEN"}, {age, "AGE"}, {address, "ADDRESS"}, {uuid, "UUID"}, {spaces, " "}} {
		s = m.re.ReplaceAllString(s, m.by)
	}
	return strings.TrimSpace(s)
}

// pattern matches an output line whose masked form is that of line.
func pattern(line string) string {
	quoted := regexp.QuoteMeta(masked(line))
	for by, re := range map[string]*regexp.Regexp{"TIME": clockTime, "TOKEN": token, "AGE": age, "ADDRESS": address, "UUID": uuid} {
		quoted = strings.ReplaceAll(quoted, by, "("+re.String()+")")
	}
	return strings.ReplaceAll(strings.ReplaceAll(quoted, " ", `[ \t]+`), "'", "''")
}

// shows FILE elect … runs a command, whose output has to be that of the file, but for what
// differs from one run to the next. "exit-code" is the exit code of the command before. "^C"
// interrupts the process that was started under the name of the file.
func shows(ts *testscript.TestScript, w *world, args []string) (err error) {
	want := strings.TrimSpace(ts.ReadFile(args[0]))
	var got string
	switch command := strings.Join(args[1:], " "); command {
	case "exit-code":
		got = strconv.Itoa(w.code)
	case "^C":
		out := w.processes[args[0]].out
		if w.code, err = w.end(args[0], syscall.SIGINT); err == nil {
			var all []byte
			all, err = os.ReadFile(out)
			got = string(all) + "^C"
		}
	default:
		var stdout, stderr string
		stdout, stderr, w.code, err = execute(ts, args[1:])
		got = stdout + stderr
	}
	if err == nil && masked(got) != masked(want) {
		return fmt.Errorf("%s shows\n%s\nwhich is not\n%s", strings.Join(args[1:], " "), masked(got), masked(want))
	}
	return err
}

func TestThePageShowsWhatTheCommandsShow(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	script, commands := sessions(string(text))
	require.Greater(t, commands, 15)
	file := filepath.Join(t.TempDir(), "operating.txtar")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	p := params()
	p.Files = []string{file}
	testscript.Run(t, p)
}
