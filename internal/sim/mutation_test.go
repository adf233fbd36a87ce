package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A mutation takes one rule out of the library. The suite is worth what it catches of them: each must be found
// within its number of schedules, counted from seed 1.
type mutation struct {
	name   string
	edits  []edit
	within int
	focus  string // see -sim.focus
}

type edit struct{ file, old, new string }

var mutations = []mutation{
	{"no owner check", []edit{
		{"internal/machine/event.go", "case ev.Owner != ev.Session:", "case false:"},
		{"internal/machine/machine.go", "m.owner != 0 && m.session != 0 && m.owner != m.session", "false"},
		{"internal/machine/event.go", "if m.node != \"\" && m.owner != 0 {", "if false {"},
		{"internal/line/line.go", "case stat.EphemeralOwner == id && name == \"\":", "case stat.EphemeralOwner != id+1 && name == \"\":"},
		{"candidate.go", "l := c.sess.Lease(c.own.machine.View().Owner)", "l := c.sess.Lease(c.sess.State().ID)"},
		{"candidate.go", "lease := c.sess.Lease(a.Session)", "lease := c.sess.Lease(c.sess.State().ID)"},
	}, 20, falseExpiry},
	{"lease by ping instead of quorum", []edit{
		{"internal/session/renew.go", "_, err := c.Multi(&zk.CheckVersionRequest{Path: k.path, Version: -1})", "_, _, err := c.Exists(k.path)"},
	}, 200, ""},
	{"lease from the time of receipt", []edit{
		{"internal/session/lease.go", "		l.extend(sent, ", "		l.extend(answered, "},
	}, 1500, wakeCutOff},
	{"lease whatever the leader has heard", []edit{
		{"internal/session/lease.go", "min(timeout/leaseShare, certain(timeout)-elapsed(l.touched, sent))", "timeout/leaseShare"},
		{"internal/session/lease.go", "if !l.touched.IsZero() {", "if true {"},
	}, 200, wakeCutOff},
	{"no margin for drift", []edit{
		{"internal/session/lease.go", "t * 11 / 12", "t * 12 / 12"},
	}, 1500, wakeCutOff},
	{"nobody watches the clock", []edit{
		{"latch.go", "time.AfterFunc(t.lease.Remaining(time.Now()), t.onTimer)", "time.AfterFunc(24*time.Hour, t.onTimer)"},
	}, 20, ""},
	{"no lease at all", []edit{
		{"internal/session/lease.go", "return e != nil && now.Sub(e.from) < e.d && now.UnixNano()-e.wall < int64(e.d)", "return e != nil"},
		// A lease that lives at its end would have the timer fire for ever in one moment of virtual time.
		{"latch.go", "t.timer.Reset(t.lease.Remaining(now))", "t.timer.Reset(max(t.lease.Remaining(now), time.Millisecond))"},
	}, 20, ""},
	{"delete before the work has stopped", []edit{
		{"internal/machine/machine.go", "	m.working = true\n", "	m.working = false\n"},
	}, 20, ""},
	{"own znode not watched", []edit{
		{"internal/machine/event.go", "case slices.Contains(ev.Gone, m.node):", "case false:"},
		{"candidate.go", "	if ev.Type == zk.EventNodeDeleted {\n		c.step(machine.OwnGone{Epoch: c.own.epoch})\n		return\n	}\n	c.step(machine.OwnStale{Epoch: c.own.epoch})", ""},
	}, 20, ""},
	{"orphans left behind", []edit{
		{"internal/machine/event.go", "	case Lost:\n		m.unsure = true\n", "	case Lost:\n"},
	}, 20, ""},
	{"orphans looked for behind a sync", []edit{
		{"internal/line/line.go", "_, err := c.Multi(&zk.CheckVersionRequest{Path: p.Path, Version: -1})", "_, err := c.Sync(p.Path)"},
	}, 40, slowQuorum},
	{"plain string order", []edit{
		{"internal/znode/znode.go", "return cmp.Compare(a.seq, b.seq)", "return cmp.Compare(a.name, b.name)"},
	}, 20, ""},
	{"a znode is taken for gone when nobody answered", []edit{
		{"internal/machine/event.go", "	if ev.Fault == OK || ev.Fault == NoNode {", "	if ev.Fault != Denied {"},
	}, 20, ""},
	{"a watch that was lost is not missed", []edit{
		{"internal/machine/event.go", "	case Following, Elected, Leading:\n		m.check()\n", "	}\n	switch m.state {\n"},
		{"internal/machine/machine.go", "	if m.held && !m.verified {\n		m.check()\n	}\n", ""},
	}, 200, ""},
	{"listeners are not told of the end", []edit{
		{"listener.go", "		h.put(m, n)\n	}\n	if len(f.open)", "		_ = n\n	}\n	if len(f.open)"},
	}, 5, ""},
	{"the znode behind is not waited for", []edit{
		{"internal/machine/machine.go", "	case len(m.ahead) == 0:\n		m.become(Elected)\n	default:\n		m.become(Following)\n	}", "	default:\n		m.ahead = nil\n		m.become(Elected)\n	}"},
	}, 5, ""},
}

// mutate returns the go tool's overlay with m's edits, and fails if the source has moved away from them.
func (m mutation) overlay(t *testing.T, root string) string {
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		file := filepath.Join(root, e.file)
		if _, ok := texts[file]; !ok {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			texts[file] = string(b)
		}
		require.Equal(t, 1, strings.Count(texts[file], e.old), "%s has changed: %q", e.file, e.old)
		texts[file] = strings.Replace(texts[file], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		replace[file] = filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(file, root), string(filepath.Separator), "_"))
		require.NoError(t, os.WriteFile(replace[file], []byte(text), 0o600))
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	name := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

// TestEachMutationIsCaught shows that the suite can fail: with one rule taken out of the library it does.
func TestEachMutationIsCaught(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			overlay := m.overlay(t, root)
			compiles(t, overlay)
			out := m.play(t, overlay, "-sim.focus="+m.focus)
			found := violation.FindStringSubmatch(out)
			require.NotEmpty(t, found, "not caught within %d schedules:\n%s", m.within, out)
			t.Log(found[0])
			if m.focus != "" { // what is so rare takes a certain order of goroutines as well, which the seed does not hold
				return
			}
			for tries := 1; !violation.MatchString(m.play(t, overlay, found[1], found[2])); tries++ {
				require.Less(t, tries, 20, "%s %s does not show it again", found[1], found[2])
			}
		})
	}
}

// violation finds what was violated in a run's output, and the flags that play it again.
var violation = regexp.MustCompile(`(-sim\.seed=\d+) (-sim\.focus="[^"]*"): G\d: .*`)

// play runs schedules with the mutation, without the race detector, and returns what they say.
func (m mutation) play(t *testing.T, overlay string, flags ...string) string {
	for i, f := range flags {
		flags[i] = strings.ReplaceAll(f, `"`, "")
	}
	args := []string{"test", "-count=1", "-v", "-overlay", overlay, "-timeout", "10m", "-run", "^TestSchedules$", "."}
	cmd := exec.CommandContext(t.Context(), "go", append(args, flags...)...)
	cmd.Env = append(os.Environ(), "SIM_SCHEDULES="+strconv.Itoa(m.within))
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// compiles makes sure that a mutation fails for what it does.
func compiles(t *testing.T, overlay string) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", os.DevNull, "-overlay", overlay, ".")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
