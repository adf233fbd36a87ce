package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// story makes events of one election, in order.
type story struct{ events []Event }

func (s *story) add(at int64, who, what string, token Token) *Event {
	s.events = append(s.events, Event{At: at, Who: who, What: what, Election: "e", Token: token})
	return &s.events[len(s.events)-1]
}

// leads adds a time as leader.
func (s *story) leads(who string, token Token, from, to int64) {
	s.add(from, who, saysGained, token).Until = to + 5
	s.add(to, who, saysLost, token)
}

// written adds a write.
func (s *story) written(who string, token Token, op, from, to int64, what, register string, order int64) {
	e := s.add(from, who, saysWriting, token)
	e.Op, e.Register = op, register
	e = s.add(to, who, what, token)
	e.Op, e.Register, e.Order = op, register, order
}

// judged returns what the judge finds wrong.
func (s *story) judged() []string {
	log := NewLog(&discard{})
	for _, e := range s.events {
		log.Add(e)
	}
	wrong, _ := judge(log.Events())
	return wrong
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

func TestATermAfterATermIsNoOverlap(t *testing.T) {
	s := &story{}
	s.leads("a#1", 1, 10, 20)
	s.leads("b#1", 2, 21, 30)
	s.leads("b#1", 2, 31, 40) // the same token again, after the lease had run out
	require.Empty(t, s.judged())
}

func TestAnOverlapIsFound(t *testing.T) {
	s := &story{}
	s.leads("a#1", 1, 10, 20)
	s.leads("b#1", 2, 19, 30)
	require.Len(t, s.judged(), 1)
	require.Contains(t, s.judged()[0], "both led")

	for name, add := range map[string]func(*story){
		"within another": func(s *story) { s.leads("a#1", 1, 10, 50); s.leads("b#1", 2, 20, 30) },
		"seen only once": func(s *story) { s.leads("a#1", 1, 10, 50); s.leads("b#1", 2, 20, 20) },
		"not the next":   func(s *story) { s.leads("a#1", 1, 10, 50); s.leads("a#2", 2, 51, 60); s.leads("b#1", 3, 55, 90) },
		"of one that goes on": func(s *story) {
			s.add(10, "a#1", saysGained, 1)
			s.add(40, "a#1", saysBelieves, 1)
			s.leads("b#1", 2, 30, 35)
		},
	} {
		s := &story{}
		add(s)
		require.NotEmpty(t, s.judged(), name)
	}
}

// A process that does not run says nothing. It leads until its lease ends, as it last said.
func TestAnOverlapWithTheLeaseOfAStoppedProcessIsFound(t *testing.T) {
	stopped := func(resigns bool) *story {
		s := &story{}
		s.add(10, "a#1", saysGained, 1).Until = 50
		if resigns {
			s.add(12, "a#1", saysResigns, 1).Until = 50
		}
		s.add(15, "a#1", saysGap, 0).Until = 80
		s.add(15, "a#1", saysLost, 1)
		return s
	}
	s := stopped(false)
	s.leads("b#1", 2, 40, 60)
	require.Len(t, s.judged(), 1)

	s = stopped(false)
	s.leads("b#1", 2, 51, 60)
	require.Empty(t, s.judged())

	s = stopped(true) // it may have ended its term itself
	s.leads("b#1", 2, 40, 60)
	require.Empty(t, s.judged())
}

func TestAnOverlapIsPermittedOnlyIfLeaderLatchLedFirst(t *testing.T) {
	s := &story{}
	s.leads("java#1", 0, 10, 30)
	s.leads("b#1", 2, 20, 40)
	require.Empty(t, s.judged())
	s.leads("java#1", 0, 35, 60)
	require.Len(t, s.judged(), 1)
}

func TestATokenThatDoesNotRiseIsFound(t *testing.T) {
	for _, token := range []Token{4, 5} {
		s := &story{}
		s.leads("a#1", 5, 10, 20)
		s.leads("b#1", token, 30, 40)
		require.Len(t, s.judged(), 1)
	}
	s := &story{}
	s.leads("a#1", 5, 10, 20)
	s.add(25, "servers", saysWiped, 0)
	s.leads("b#1", 1, 30, 40)
	require.Empty(t, s.judged())
}

func TestCallbacksThatAreLostOrOutOfOrderAreFound(t *testing.T) {
	good := &story{}
	good.add(1, "a#1", saysBegan, 1)
	good.add(2, "a#1", saysEnded, 1)
	good.add(3, "a#1", saysBegan, 2)
	require.Empty(t, good.judged())
	for name, calls := range map[string][]Event{
		"twice":       {{What: saysBegan, Token: 1}, {What: saysBegan, Token: 2}},
		"other token": {{What: saysBegan, Token: 1}, {What: saysEnded, Token: 2}},
		"end first":   {{What: saysEnded, Token: 1}},
	} {
		s := &story{}
		for i, e := range calls {
			s.add(int64(i), "a#1", e.What, e.Token)
		}
		require.NotEmpty(t, s.judged(), name)
	}
}

func TestALeaderBeforeTheWorkHasStoppedIsFound(t *testing.T) {
	begun := func(lease int64) *story {
		s := &story{}
		s.add(10, "a#1", saysGained, 1)
		s.add(10, "a#1", saysWorks, 1)
		s.add(20, "a#1", saysResigns, 1).Until = lease
		s.add(21, "a#1", saysLost, 1)
		s.add(30, "a#1", saysStopped, 1)
		return s
	}
	s := begun(100)
	s.leads("b#1", 2, 25, 50)
	require.Len(t, s.judged(), 1)
	s = begun(100)
	s.leads("b#1", 2, 31, 50)
	require.Empty(t, s.judged())
	s = begun(24) // the work went on for longer than the lease
	s.leads("b#1", 2, 25, 50)
	require.Empty(t, s.judged())
}

func TestAStaleWriteThatIsAcceptedIsFound(t *testing.T) {
	for _, register := range []string{inBolt, inZooKeeper} {
		s := &story{}
		s.written("a#1", 1, 1, 10, 11, saysWrote, register, 0)
		s.written("b#1", 2, 1, 12, 13, saysWrote, register, 1)
		s.written("a#1", 1, 2, 14, 15, saysRefused, register, 0)
		s.written("b#1", 2, 2, 16, 17, saysWrote, register, 2)
		require.Empty(t, s.judged(), register)
		s.written("a#1", 1, 3, 18, 19, saysWrote, register, 3)
		require.Len(t, s.judged(), 1, register)
	}
}

func TestWritesAtTheSameTimeMayComeInAnyOrderButNotInTwo(t *testing.T) {
	s := &story{}
	s.written("a#1", 1, 1, 10, 20, saysWrote, inBolt, 0)
	s.written("b#1", 2, 1, 12, 13, saysWrote, inBolt, 0) // a's came first
	s.written("c#1", 3, 1, 30, 99, saysUncertain, inBolt, 0)
	s.written("b#1", 2, 2, 40, 41, saysRefused, inBolt, 0) // c's came before
	require.Empty(t, s.judged())
	s.written("b#1", 2, 3, 50, 51, saysWrote, inBolt, 0)
	require.Len(t, s.judged(), 1)
}

func TestARefusalWithoutAReasonIsFound(t *testing.T) {
	s := &story{}
	s.written("a#1", 2, 1, 10, 11, saysWrote, inBolt, 0)
	s.written("a#1", 2, 2, 12, 13, saysRefused, inBolt, 0)
	require.Len(t, s.judged(), 1)
}

func TestAWriteThatWasReplacedByAnEarlierVersionIsFound(t *testing.T) {
	s := &story{}
	s.written("a#1", 1, 1, 10, 11, saysWrote, inZooKeeper, 5)
	s.written("b#1", 2, 1, 12, 13, saysWrote, inZooKeeper, 4)
	require.Len(t, s.judged(), 1)
}

// A process that was killed between its write and the answer may have written.
func TestAWriteWithoutAnEndMayHaveBeenAccepted(t *testing.T) {
	s := &story{}
	e := s.add(10, "c#1", saysWriting, 3)
	e.Op, e.Register = 1, inBolt
	s.written("b#1", 2, 1, 12, 13, saysRefused, inBolt, 0)
	require.Empty(t, s.judged())
}

func TestStallsCountOnlyTheTimeWithoutALeader(t *testing.T) {
	events := []Event{{At: 10, Until: 30, What: saysGap, Election: "e"}, {At: 0, Until: 99, What: saysGap, Election: "other"}}
	require.EqualValues(t, 10, stalls(events, "e", 20, 50))
	require.Zero(t, stalls(events, "e", 30, 50))
}

func TestTheLineMustHaveEveryCandidateAndNobodyElse(t *testing.T) {
	require.Empty(t, sameLine([]string{"a", "b"}, []string{"b", "a"}))
	for _, got := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "b", "b"}, nil} {
		require.NotEmpty(t, sameLine([]string{"a", "b"}, got))
	}
}
