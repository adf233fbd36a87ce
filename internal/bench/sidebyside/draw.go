package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// drawAll makes docs/benchmarks.md and the drawings of docs/benchmarks/data.json.
func drawAll(docs string) error {
	d, err := load(filepath.Join(docs, "benchmarks", "data.json"))
	if err != nil {
		return err
	}
	files := draw(d)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(docs, name), []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// draw returns the page and its drawings, by their names in the folder docs. They depend
// on the data and on nothing else.
func draw(d *Data) map[string]string {
	files := map[string]string{}
	p := &page{Data: d, files: files}
	p.write()
	files["benchmarks.md"] = p.text.String()
	return files
}

// page grows.
type page struct {
	*Data
	text  strings.Builder
	files map[string]string
}

// say writes a paragraph, or something else that stands alone.
func (p *page) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.Contains(text, "\n") {
		text = wrap(text)
	}
	p.text.WriteString(text + "\n\n")
}

// table writes a table and what follows from it.
func (p *page) table(table string, follows ...string) {
	p.text.WriteString(table + "\n")
	p.say("%s", strings.TrimSpace(strings.Join(follows, " ")))
}

// lineWidth is that of a paragraph.
const lineWidth = 160

// wrap breaks a paragraph into lines.
func wrap(text string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > lineWidth {
			lines, line = append(lines, line), word
			continue
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}

// show adds a drawing.
func (p *page) show(name, what, drawing string) {
	p.files["benchmarks/"+name] = drawing
	p.say("![%s](benchmarks/%s)", what, name)
}

func (p *page) write() {
	p.head()
	p.handoffs()
	p.crashes()
	p.traffic()
	p.torture()
	p.made()
}

func (p *page) head() {
	p.say("# Side by side")
	p.say("This page is made of [data.json](benchmarks/data.json). Do not edit it: change `internal/bench/sidebyside` and make it again.")
	p.say("```sh\ngo run ./internal/bench/sidebyside measure -out docs/benchmarks/data.json   # a quarter of an hour; needs the packages of .ci/packages\n" +
		"go run ./internal/bench/sidebyside draw\n```")
	p.say("Measured on %s on one machine, %s. All contenders took part in the same run. [What it was made with](#what-it-was-made-with) names the machine and all versions. "+
		"Times on another machine differ; compare the contenders, not the milliseconds.", p.Made.Date, p.machine())
	p.say("## Who takes part")
	p.say("%s", strings.TrimSpace(table([]string{"", "what its user sees when it leads", "asked \"do I lead?\"", "notified of a loss by"}, [][]string{
		{"bare ZooKeeper", "a watch says that a znode was deleted", "", ""},
		{"zk.Lock", "`Lock` of go-zookeeper returns", "no such call", "nothing"},
		{"Curator LeaderLatch", "the listener's `isLeader`", "`hasLeadership`", "the listener's `notLeader`"},
		{"Kazoo Lock", "`Lock.acquire` returns; `Election.run` uses it", "no such call that looks at the session", "the client's state `LOST`"},
		{"etcd Election", "`concurrency.Election.Campaign` returns", "no such call", "`Session.Done`"},
		{"this library", "the listener's `IsLeader`", "`HasLeadership`", "the listener's `NotLeader`"},
		{"this library, fast failover 1 s", "the same", "the same", "the same"},
	})))
	p.say("Each participant is an operating-system process with one session. It reads the machine's monotonic clock: right before the call that enters or leaves, and as soon as its user sees " +
		"that it leads. The participants call their library as its documentation does, and nothing more: after a loss they do only what the library does by itself. " +
		"Each library is used in its own language, so its times include what Java, Python or Go need. Bare ZooKeeper is no election. It is what ZooKeeper itself needs, a lower limit.")
	p.say("One ZooKeeper server and one etcd server run on the same machine and the same disk. Each is an ensemble of one, and each writes its log to the disk (fsync) before it answers. " +
		"So the times of etcd and of ZooKeeper are times of two stores, too, and not only of two elections.")
}

func (p *page) machine() string { return fmt.Sprintf("%s, %d cores", p.Made.CPU, p.Made.Cores) }

func (p *page) handoffs() {
	if len(p.Handoff) > 0 {
		p.say("## Hand-over between two")
		p.say("The time from the leader's call that gives leadership up until the next participant leads. It leaves in good order, and the next one has waited for a tenth of a second or more.")
		p.show("handoff.svg", "Hand-over between two", spread("Hand-over between two, ms: p10 to p90, and the median", "ms", 1e6, p.Handoff))
		p.table(timesTable(p.Handoff, "bare"), slower(p.Handoff), slowerFast(p.Handoff))
	}
	if len(p.Line) > 0 {
		p.say("## Quick successions")
		p.say("A line of %d leaves: each participant leaves as soon as it leads. The time is that from the first call until the last one leads, divided by the number of hand-overs.", p.Made.InLine)
		p.show("line.svg", "Quick successions", spread("A line leaves: ms for each hand-over", "ms", 1e6, p.Line))
		p.table(timesTable(p.Line, ""), slower(p.Line), slowerFast(p.Line))
	}
	if len(p.First) > 0 {
		p.say("## To lead at all")
		p.say("The time from the call that enters an empty election until the participant leads. Its session or connection exists already, and so does the election's path; for bare ZooKeeper it is one create.")
		p.show("first.svg", "To lead at all", spread("To lead on a session that exists, ms", "ms", 1e6, p.First))
		p.table(timesTable(p.First, "bare"), slower(p.First), slowerFast(p.First))
	}
}

func (p *page) crashes() {
	if len(p.Crashes) == 0 {
		return
	}
	p.say("## Take-over after a crash")
	p.say("The time from the SIGKILL of the leading process until the next one leads. The kill comes at a random moment between two heartbeats. " +
		"All contenders take part at the same time, because nearly all of it is waiting. The lease of etcd is as long as the session timeout.")
	for i, c := range p.Crashes {
		name := fmt.Sprintf("session timeout %s, tick %s", seconds(c.Timeout), seconds(c.Tick))
		p.say("### %s", strings.ToUpper(name[:1])+name[1:])
		p.show(fmt.Sprintf("crash-%d.svg", i+1), "Take-over after a crash, "+name, spread("Take-over after a crash, s: "+name, "s", 1e9, c.Times))
		p.table(timesTable(c.Times, ""), slower(c.Times))
	}
}

func (p *page) traffic() {
	if len(p.Bytes) > 0 {
		p.say("## Bytes for a hand-over")
		p.say("What passes on the connections of the leader that leaves and of the next one, both ways, from the leader's call until %d ms after the next one leads. "+
			"Those behind them in line are znodes or keys of one other session, with names of the contender's own kind. "+
			"Each figure is the least of three, because a heartbeat may pass meanwhile.", quietFor.Milliseconds())
		p.show("bytes.svg", "Bytes for a hand-over", growth("Bytes for a hand-over, by the length of the line (both axes logarithmic)", p.Bytes))
		p.table(bytesTable(p.Bytes), moreBytes(p.Bytes, inLineCounts[0]), moreBytes(p.Bytes, inLineCounts[len(inLineCounts)-1]))
	}
	if len(p.Idle) > 0 {
		p.say("## While nothing happens")
		p.say("What passes on the connection of a leader and of a follower in a minute, both ways, with a session timeout of %s for all. "+
			"This library renews its lease by a transaction every twelfth of that time, which the others do not do.", seconds(p.Made.Timeout))
		p.show("idle.svg", "While nothing happens", bars("Bytes a minute while nothing happens: leader, and follower (lighter)", p.Idle))
		p.table(idleTable(p.Idle), moreIdle(p.Idle))
	}
}

// told says what is done in each scenario.
var told = map[string]string{
	cutOff: "The follower's connection passes nothing for one and a half session timeouts, and then passes again. " +
		"When the follower has had three session timeouts to come back, the leader leaves. If the follower then leads, the former leader enters again. \"No entry\" means that a participant leads without a znode or key.",
	deleted: "An operator deletes the leader's znode or key. The scenario ends two session timeouts after the next one leads.",
	stopped: "The leader's process is stopped (SIGSTOP) for one and a half session timeouts, or until the next one leads, and then goes on. The scenario ends two session timeouts later.",
	junkPlain: "A child `junk` is in the election's path, which is no candidate's. A participant enters behind it, and then the leader leaves. " +
		"If nobody leads within two session timeouts, the junk is removed.",
	junkNumber: "The same with a child `0-note`, which sorts before all candidates.",
	fullCount: "The counter that ZooKeeper numbers the children of the path with is at its end: the leader's znode has the number 2147483647. " +
		"The server was started with such data. ZooKeeper then gives the same number again.",
	wrapped: "The counter has wrapped: the leader's znode has the number -2147483648, and the next one has the number after that.",
	wiped: "The server is killed, its data is deleted, and it is started again at the same address. Five session timeouts later, a new participant enters. " +
		"\"After\" counts from when the server serves again, and the notification from when it was killed.",
}

func (p *page) torture() {
	if len(p.Torture) == 0 {
		return
	}
	p.say("## Torture")
	p.say("What was observed, by rules in the code and not written by hand. The scenarios are faults that this library is built for. The session timeout is %s, the server's tick %s, and etcd's lease %s. Each scenario was played %s. "+
		"Where a library can be asked whether it leads, it is asked every 2 ms, so a shorter overlap may not be seen. For the others, a participant leads until it is notified. "+
		"Kazoo's client also reports `SUSPENDED` when its connection is lost, which may or may not mean a loss: that is shown as a warning. Ranges are over all plays.",
		seconds(p.Made.Short.Timeout), seconds(p.Made.Short.Tick), seconds(p.Made.Short.Timeout), times(len(observed(p.Torture, deleted, "ours"))))
	p.show("torture.svg", "Torture", grid("The worst that was observed", p.Torture))
	p.say("Green: one leads. Yellow: nobody leads. Orange: two lead, for up to %d ms. Red: two lead for longer.", brief)
	for _, s := range scenarioNames() {
		p.say("### %s", heading(s))
		p.say("%s", told[s])
		p.say("%s", strings.TrimSpace(tortureTable(p.Torture, s)))
	}
}

// heading is a scenario's.
func heading(scenario string) string {
	switch scenario {
	case junkPlain, junkNumber:
		return "A child `" + scenario + "`"
	}
	return strings.ToUpper(scenario[:1]) + scenario[1:]
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (p *page) made() {
	m := p.Made
	p.say("## What it was made with")
	rows := [][]string{{"date", m.Date}, {"machine", p.machine()}, {"kernel", m.Kernel}, {"file system of the servers' data", m.Disk},
		{"beside it ran", cmp.Or(m.Beside, "nothing that is known")}, {"seed", fmt.Sprint(m.Seed)}, {"rounds before those that count", fmt.Sprint(m.Warmup)}}
	for _, v := range m.Versions {
		rows = append(rows, []string{v.Name, v.Version})
	}
	p.text.WriteString(table([]string{"", ""}, rows))
}
