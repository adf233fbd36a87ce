package election_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/process"
)

// memberEnv has this binary take part in an election instead of testing: see memberMain.
const memberEnv = "ELECTION_TEST_MEMBER"

// membership is how a member takes part.
type membership struct {
	connect string // the servers
	path    string
	timeout time.Duration
	within  time.Duration // of fast failover
	look    time.Duration // between two looks at whether it leads; 0: as often as possible
}

// member is a process with one candidate, which looks all the time whether it leads.
type member struct {
	*process.Process
	id   string
	said process.Lines
}

func startMember(t *testing.T, id string, as membership) *member {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	m := &member{id: id}
	out := process.Split(m.said.Add)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), memberEnv+"="+strings.Join([]string{id, as.connect, as.path, as.timeout.String(),
		as.within.String(), as.look.String()}, " "))
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	m.Process, err = process.Start(cmd, out.End)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = m.Kill()
		<-m.Done()
		if t.Failed() {
			t.Logf("%s said:\n%s", id, strings.Join(m.notable(), "\n"))
		}
	})
	return m
}

// The first words of the lines that a member writes. All times are of the wall clock, in nanoseconds, which all
// processes of a machine share. Lines that begin otherwise are its log.
const (
	saysGained   = "gained"   // the time after the first look at which it led
	saysBelieves = "believes" // the time before a look at which it led, every tenth of a second
	saysLost     = "lost"     // the time before the last look at which it led
	saysGap      = "gap"      // nothing ran: the times before that and after the next look, and whether it led then
)

// longGap is what a process without a pause hardly ever needs between two looks.
const longGap = 100 * time.Millisecond

// memberMain takes part until it is killed.
func memberMain(what string) int {
	words := strings.Fields(what)
	var periods [3]time.Duration
	for i := range periods {
		d, err := time.ParseDuration(words[3+i])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		periods[i] = d
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	ctx := context.Background()
	client, err := election.Connect(ctx, words[1], election.WithSessionTimeout(periods[0]), election.WithClientLogger(log))
	if err != nil {
		fmt.Println("cannot connect:", err)
		return 1
	}
	cand, err := election.NewCandidate(client, words[2], election.WithID(words[0]), election.WithFastFailover(periods[1]))
	if err == nil {
		err = cand.Start(ctx)
	}
	if err != nil {
		fmt.Println("cannot take part:", err)
		return 1
	}
	lookOn(cand, periods[2])
	return 0
}

// lookOn never returns. A pause may begin within a look, so a gap is counted from before that one: the next look is the
// first that has certainly begun after the pause. If every is 0, only a scheduler that is quicker than a goroutine that
// runs all the time lets any other goroutine run between the end of a pause of the process and the next look.
//
// A pause may also begin within time.Now, between its readings of the wall clock and of the monotonic clock. So the
// time of a look after a gap is taken after it.
func lookOn(cand *election.Candidate, every time.Duration) {
	tick := time.NewTicker(max(every, time.Microsecond))
	led, believed, said, last := false, time.Now(), time.Now(), time.Now()
	for {
		before := time.Now()
		leads := cand.HasLeadership()
		after := time.Now()
		if before.Sub(last) > longGap {
			fmt.Println(saysGap, last.UnixNano(), after.UnixNano(), leads)
		}
		switch {
		case leads && !led:
			fmt.Println(saysGained, after.UnixNano())
		case !leads && led:
			fmt.Println(saysLost, believed.UnixNano())
		case leads && before.Sub(said) > longGap:
			fmt.Println(saysBelieves, before.UnixNano())
			said = before
		}
		if leads {
			believed = before
		}
		led, last = leads, before
		if every > 0 {
			<-tick.C
		}
	}
}

// reign is a time in which a member considered itself leader, at its first and its last look at least.
type reign struct {
	id       string
	from, to int64
	over     bool
}

// reigns are the member's, in order.
func (m *member) reigns() (all []reign) {
	for _, line := range m.said.All() {
		word, at := event(line)
		switch {
		case word == saysGained:
			all = append(all, reign{m.id, at, at, false})
		case word == saysBelieves || word == saysLost:
			r := &all[len(all)-1]
			r.to, r.over = max(r.to, at), word == saysLost
		}
	}
	return all
}

// event is the first word of a line, and its time if it has one.
func event(line string) (word string, at int64) {
	word, rest, _ := strings.Cut(line, " ")
	text, _, _ := strings.Cut(rest, " ")
	at, _ = strconv.ParseInt(text, 10, 64)
	return word, at
}

// leads reports whether the member led when it last said anything, and since when. It reads from the end, since a long
// run has many lines.
func (m *member) leads() (since int64, leads bool) {
	for _, line := range slices.Backward(m.said.All()) {
		switch word, at := event(line); word {
		case saysGained:
			return at, true
		case saysLost:
			return 0, false
		}
	}
	return 0, false
}

// notable are the lines that do not come all the time.
func (m *member) notable() (lines []string) {
	for _, line := range m.said.All() {
		if word, _ := event(line); word != saysBelieves {
			lines = append(lines, line)
		}
	}
	return lines
}

// evictions is how often the member has removed the candidate ahead.
func (m *member) evictions() (n int) {
	for _, line := range m.said.All() {
		if strings.Contains(line, "was silent and was removed") {
			n++
		}
	}
	return n
}

// awaitLeader waits until a member leads, of those that have begun to lead after a moment.
func awaitLeader(t *testing.T, members []*member, after int64) (leader *member, since int64) {
	t.Helper()
	eventually(t, func() bool {
		for _, m := range members {
			if at, leads := m.leads(); leads && at > after && !m.Ended() {
				leader, since = m, at
				return true
			}
		}
		return false
	}, "a leader")
	return leader, since
}

// requireNoOverlap requires that no two members led at one instant, by any look of theirs.
func requireNoOverlap(t *testing.T, members ...*member) (terms int) {
	t.Helper()
	var all []reign
	for _, m := range members {
		all = append(all, m.reigns()...)
	}
	slices.SortFunc(all, func(a, b reign) int { return int(a.from - b.from) })
	latest := reign{}
	for _, r := range all {
		require.LessOrEqual(t, latest.to, r.from, "%s led until %v after %s had begun", latest.id, time.Duration(latest.to-r.from), r.id)
		if r.to > latest.to {
			latest = r
		}
	}
	return len(all)
}
