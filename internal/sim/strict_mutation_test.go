package sim

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// walks is the exploration of strict hand-over by chance.
const walks = "machine.TestNoTwoRulersWhateverIsDeletedAndOneInTheEnd"

// Those of strict hand-over: see package reign.
var strictMutations = []mutation{
	{"the last reign is not waited for", []edit{
		{"internal/driver/strict.go", "	if left <= 0 {\n", "	if true {\n"},
	}, 0, "", "sim.TestACrashedLeaderIsWaitedFor"},
	{"the wait counts from when somebody was still ahead", []edit{
		{"internal/driver/strict.go", "if to == machine.Elected && b.alone.IsZero() {", "if to >= machine.Following && b.alone.IsZero() {"},
	}, 0, "", "sim.TestACrashedLeaderIsWaitedFor"},
	{"the wait is by the clock that ran further", []edit{
		{"internal/driver/strict.go", "session.AtLeast(b.alone, now)", "session.AtMost(b.alone, now)"},
	}, 0, "", "driver.TestAWaitIsByTheClockThatHasAdvancedLess"},
	{"a clock that was set back is waited for", []edit{
		{"internal/driver/strict.go", "	if d < 0 {\n", "	if false {\n"},
	}, 0, "", "driver.TestAWaitIsByTheClockThatHasAdvancedLess"},
	{"the wait is by the successor's own session timeout", []edit{
		{"internal/driver/strict.go", "	if lasts == 0 { // there is no", "	if true { // there is no"},
	}, 0, "", "sim.TestALeaderSaysForHowLongItMayBelieve"},
	{"who finds no record waits by its own time of fast failover", []edit{
		{"internal/driver/strict.go", "beat.Lease(0, o.cfg.Session.Timeout())", "beat.Lease(o.beating.within, o.cfg.Session.Timeout())"},
	}, 0, "", "sim.TestWhoFindsNoRecordWaitsForAnyTimeOfFastFailover"},
	{"an evictor says that the reign is over before it evicts", []edit{
		{"internal/queue/evict.go", "		ops = append(ops, left)\n", "		_ = multi(e.Session, left)\n"},
	}, 0, "", "queue.TestAnEvictionWritesAllOrNothing"},
	{"who leaves names no version", []edit{
		{"internal/queue/record.go", "Version: -1}, rs.write(r, version))\n	if err != nil {\n		return fmt.Errorf(\"end", "Version: -1}, rs.write(r, -1))\n	if err != nil {\n		return fmt.Errorf(\"end"},
	}, 0, "", "queue.TestAReignBeginsAndEndsInTheRecord"},
	{"who leaves does not look whose znode it is", []edit{
		{"internal/queue/handover.go", "if err := e.checkOwner(l.Name); err != nil {", "if err := e.checkOwner(l.Name); false {"},
	}, 0, "", "queue.TestNobodyLeavesWithAnothersZnode"},
	{"who may not write the record stays", []edit{
		{"internal/machine/event.go", "	if ev.Fault == Denied { // the next", "	if false { // the next"},
	}, 0, "", "sim.TestWhoMayNotWriteTheRecordAnyMoreLeavesAllTheSame"},
	{"a beginning counts before its answer", []edit{
		{"internal/machine/record.go", "		m.do(Begin{m.nodeGen, m.node, m.token, version})\n", "		m.do(Begin{m.nodeGen, m.node, m.token, version})\n		m.begun = true\n"},
	}, 0, "", walks},
	{"a beginning is as good as a beat", []edit{
		{"internal/driver/strict.go", "	proves := d.cfg.Fast == nil\n", "	proves := true\n"},
	}, 0, "", "sim.TestABeginningIsNoBeat"},
	{"the session's lease is proof enough", []edit{
		{"internal/driver/fast.go", "Lease: &l.Expiry, Beat: b.short}", "Lease: &l.Expiry}"},
	}, 0, "", "sim.TestAProofOfAnothersZnodeIsNone"},
	{"a check of another znode is proof enough", []edit{
		{"internal/driver/fast.go", "beat.Config{Path: o.cfg.Entry.Node(a.Node), ", "beat.Config{Path: o.cfg.Entry.Path, "},
	}, 0, "", "sim.TestAProofOfAnothersZnodeIsNone"},
	{"a newcomer does not look at the record", []edit{
		{"internal/machine/record.go", "	case !r.known || r.stale:\n		m.readRecord()\n", "	case !r.known || r.stale:\n		m.askBegin(-1)\n"},
	}, 0, "", "sim.TestANewcomerWaitsForWhomTheRecordNames"},
	{"what a newcomer reads does not matter", []edit{
		{"internal/machine/record.go", "	case r.left || m.sure:\n", "	case true:\n"},
	}, 0, "", walks},
	{"a second term on a znode writes the record again", []edit{
		{"internal/machine/machine.go", "	m.working = true\n	m.become(Stopping)\n", "	m.working, m.begun = true, false\n	m.become(Stopping)\n"},
		{"internal/machine/record.go", "	case r.reign == m.token && !r.left: //", "	case false: //"},
	}, 0, "", "sim.TestASecondTermOnOneZnodeWritesNoRecord"},
	{"the next version is guessed whoever the record names", []edit{
		{"internal/machine/record.go", "r.record.reign != 0 && r.record.reign == departed\n", "departed != 0\n"},
	}, 0, "", walks},
	{"what was waited for counts for another record", []edit{
		{"internal/machine/record.go", "r.sure = r.sure && r.record.version == read.version", "_ = read.version"},
	}, 0, "", "machine.TestScripts"},
	{"a wait counts for another record", []edit{
		{"internal/machine/record.go", "m.sure = m.record.known && m.record.version == ev.Version", "m.sure = true"},
	}, 0, "", "machine.TestScripts"},
	{"a beginning names no version", []edit{
		{"internal/queue/record.go", "&zk.CheckVersionRequest{Path: znode.Join(rs.Path, own), Version: -1}, rs.write(r, version))", "&zk.CheckVersionRequest{Path: znode.Join(rs.Path, own), Version: -1}, rs.write(r, -1))"},
	}, 0, "", "queue.TestAReignBeginsAndEndsInTheRecord"},
	{"a beginning does not check the own znode", []edit{
		{"internal/queue/record.go", "multi(rs.Session, &zk.CheckVersionRequest{Path: znode.Join(rs.Path, own), Version: -1}, rs.write(r, version))", "multi(rs.Session, rs.write(r, version))"},
	}, 0, "", "queue.TestAReignBeginsAndEndsInTheRecord"},
}

func TestMutationsOfStrictHandoverFitTheSource(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, m := range strictMutations {
		t.Run(m.name, func(t *testing.T) { m.overlay(t, root) })
	}
}

func TestEachMutationOfStrictHandoverIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: it compiles the library once for each mutation")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, m := range strictMutations {
		t.Run(m.name, func(t *testing.T) {
			m.failsUnit(t, root)
		})
	}
}
