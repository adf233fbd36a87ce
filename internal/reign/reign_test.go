package reign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/zkelection/election/internal/reign"
)

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	for _, r := range []reign.Record{
		{Reign: 1, Lasts: time.Millisecond},
		{Reign: 0x1dc6acfac000003, Lasts: 3334 * time.Millisecond, Left: true},
		{Reign: 1<<53 + 1, Lasts: time.Hour},
	} {
		assert.Equal(t, r, reign.Decode(r.Encode()))
	}
	assert.JSONEq(t, `{"reign":"0x20","b":3334,"left":false}`, string(reign.Record{Reign: 32, Lasts: 10 * time.Second / 3}.Encode()))
}

// What is published is never less than what its candidate believes.
func TestWhatIsWrittenIsRoundedUp(t *testing.T) {
	for _, d := range []time.Duration{1, time.Millisecond - 1, time.Millisecond, time.Second / 12, 10 * time.Second / 3} {
		got := reign.Decode(reign.Record{Reign: 1, Lasts: d}.Encode()).Lasts
		assert.GreaterOrEqual(t, got, d)
		assert.Less(t, got, d+time.Millisecond)
	}
}

func TestOtherDataIsNoRecord(t *testing.T) {
	for _, data := range []string{"", "worker-1", "null", "[]", "{}", `{"reign":"0x1"}`, `{"reign":"0x1","b":0}`,
		`{"reign":"0x1","b":-5,"left":true}`, `{"reign":"0x1","b":"5"}`, `{"reign":1,"b":5}`, `{"reign":"","b":5,"left":true}`,
		`{"reign":"0x","b":5}`, `{"reign":"-1","b":5}`, `{"reign":"0x10000000000000000","b":5}`,
		`{"reign":"0x0","b":5,"left":true}`, // it would say that nobody has to be waited for
		`{"reign":"0x1","b":3600001}`,       // more than an hour
		`{"reign":"0x1","b":18446744073710}`,
		`{"reign":"0x1","b":9223372036854775807}`,
		`{"reign":"0x1","b":5} x`} {
		assert.Zero(t, reign.Decode([]byte(data)), data)
	}
	assert.Zero(t, reign.Decode(nil))
}

// The slower of two clocks lags behind the faster one by up to 9 % (package session). A
// belief that lasts b by the slower one must be over when the wait is by the faster one.
func TestAWaitIsLongerThanABeliefByAnyClock(t *testing.T) {
	const drift = 9
	for _, b := range []time.Duration{time.Millisecond, 83 * time.Millisecond, time.Second, time.Hour} {
		assert.Greater(t, reign.Wait(b)*(100-drift)/100, b)
		assert.Less(t, reign.Wait(b), b*6/5)
	}
}
