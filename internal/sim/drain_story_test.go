package sim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// Stories about leaders that leave one after another. Whatever is sent takes 10 ms to
// arrive at the server, and nothing on the way back. So a delete and the notification of
// it take 10 ms, and a round trip after it 10 ms more.

const there = 10 * time.Millisecond

// standInLine starts candidates, each on a session of its own, and returns them in the
// order of the line.
func (s story) standInLine(n int, opts ...election.ClientOption) []*election.Candidate {
	line := make([]*election.Candidate, n)
	for i := range line {
		name := fmt.Sprintf("c%02d", i)
		s.e.Delay(name, zksim.ServerName(1), there, there)
		line[i] = s.start(s.client(name, opts...))
	}
	return line
}

// drain has the candidates leave one after another, after a pause each, and returns how
// long each of the others then took to lead.
func (s story) drain(line []*election.Candidate, pause time.Duration) (took []time.Duration) {
	_, err := line[0].Await(s.Context())
	require.NoError(s, err)
	for i, leader := range line[:len(line)-1] {
		time.Sleep(pause)
		synctest.Wait()
		began := time.Now()
		left := make(chan error, 1)
		go func() { left <- leader.Close() }()
		_, err := line[i+1].Await(s.Context())
		require.NoError(s, err)
		took = append(took, time.Since(began))
		require.NoError(s, <-left)
	}
	return took
}

// The line is longer than what a candidate keeps of it. A candidate in a line that has
// just formed has a good lease, from the creation of its znode. In an old line it has to
// prove it first, which takes two round trips (package session), and it asks meanwhile.
func TestG8OneWakes_LeadersThatLeaveAtOnceCostTheNextOneRoundTripAtMost(t *testing.T) {
	for name, line := range map[string]struct {
		age, most time.Duration
	}{
		"that has just formed": {0, 2 * there},
		"that is old":          {time.Minute, 3 * there},
	} {
		t.Run("in a line "+name, func(t *testing.T) {
			tell(t, func(s story) {
				all := s.standInLine(40)
				time.Sleep(line.age)
				took := s.drain(all, 0)
				assert.Equal(s, there, took[0], "the second in line leads as soon as it is notified")
				for i, d := range took {
					assert.LessOrEqual(s, d, line.most, "position %d", i+2)
				}
			})
		})
	}
}

// A server has the reads of a session wait for its writes before them.
func TestG8OneWakes_WhoAsksWhoIsLeftDoesNotWaitForAProof(t *testing.T) {
	const disk = 50 * time.Millisecond
	tell(t, func(s story) {
		line := s.standInLine(20, election.WithSessionTimeout(40*time.Second))
		s.e.SlowDisk(1, disk, disk)
		for i, d := range s.drain(line, 4*disk) {
			assert.LessOrEqual(s, d, disk+2*there, "position %d", i+2)
		}
	})
}

func TestG8OneWakes_InAQuietLineEachLeadsAsSoonAsItIsNotified(t *testing.T) {
	tell(t, func(s story) {
		for i, d := range s.drain(s.standInLine(20), time.Minute) {
			assert.Equal(s, there, d, "position %d", i+2)
		}
	})
}

// Those in the middle leave first, and some of them while the one behind asks who is left.
func TestG8OneWakes_WhoeverLeavesTheNextInLineLeads(t *testing.T) {
	tell(t, func(s story) {
		line := s.standInLine(30)
		for _, i := range []int{15, 16, 14, 17, 5, 4, 3, 28, 27, 26, 25, 24, 23, 22, 21, 20, 2, 1} {
			go line[i].Close()
			time.Sleep(there / 4)
		}
		go line[0].Close()
		_, err := line[6].Await(s.Context())
		require.NoError(s, err)
		time.Sleep(time.Minute)
		st := line[29].Status()
		assert.Equal(s, election.StateFollowing, st.State)
		assert.Equal(s, line[19].Status().Znode, st.Ahead.Path)
		assert.LessOrEqual(s, 11-1, st.Place)
		for _, i := range []int{6, 7, 8, 9, 10, 11, 12, 13, 18, 19} {
			require.NoError(s, line[i].Close())
		}
		_, err = line[29].Await(s.Context())
		require.NoError(s, err)
	})
}
