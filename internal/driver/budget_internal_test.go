package driver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestABudgetGivesMostTurnsToThoseThatLeadOrAreNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		came := map[bool]int{}
		began := time.Now()
		var last time.Time
		var ask func(requests int, near bool)
		ask = func(requests int, near bool) {
			again := &turn{come: func() {
				came[near]++
				last = time.Now()
				ask(requests, near)
			}}
			assert.False(t, b.ask(again, requests, near))
		}
		assert.True(t, b.ask(&turn{}, 4, true), "nobody waits")
		for range 10 {
			ask(1, true)
			ask(2, false)
		}
		time.Sleep(502*time.Second + time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 502*time.Second, last.Sub(began))
		assert.InDelta(t, 600, came[true], 2, "three of four")
		assert.InDelta(t, 200, came[false], 2)
	})
}

func TestABudgetForgetsWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Budget
		came := 0
		one, other := &turn{come: func() { came++ }}, &turn{come: func() { came += 10 }}
		b.leave(one)
		assert.True(t, b.ask(&turn{}, 2, true))
		assert.False(t, b.ask(one, 1, true))
		assert.False(t, b.ask(one, 1, false), "it is behind another one now")
		assert.False(t, b.ask(other, 1, false))
		b.leave(one)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 10, came)
		b.leave(other)
		assert.Nil(t, b.timer, "nobody waits")
		assert.True(t, b.ask(other, 1, true))
	})
}
