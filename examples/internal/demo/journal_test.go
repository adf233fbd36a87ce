package demo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at returns a moment in a made-up log.
func at(millis int) time.Time { return time.UnixMilli(int64(millis)).UTC() }

func TestEntryReadsBackAsItWasLogged(t *testing.T) {
	e := Entry{time.Date(2026, 11, 21, 9, 0, 0, 123_456_000, time.UTC), "client_1", "leads", 0x100000013}
	back, ok := ParseEntry(e.String())
	require.True(t, ok)
	require.Equal(t, e, back)
	_, ok = ParseEntry("2026-11-21T09:02:00.863414Z client_3 waits")
	require.False(t, ok)
}

func TestOrderOfOneLeaderAfterTheOtherIsRight(t *testing.T) {
	var j Journal
	for _, e := range []Entry{
		{at(300), "b", "works", 2}, {at(200), "b", "leads", 2}, // lines of two processes come in any order
		{at(0), "a", "leads", 1}, {at(100), "a", "works", 1},
	} {
		j.Take(e.String())
	}
	reigns := j.Reigns()
	require.Equal(t, []Reign{
		{"a", 1, at(0), at(100), []string{"leads", "works"}},
		{"b", 2, at(200), at(300), []string{"leads", "works"}},
	}, reigns)
	require.NoError(t, CheckOrder(reigns))
}

func TestOrderFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		log  []Entry
		want string
	}{
		"one works while another leads": {[]Entry{
			{at(0), "a", "works", 1}, {at(10), "b", "works", 2}, {at(20), "a", "works", 1}, {at(30), "b", "works", 2},
		}, "a's token 0x1 is not larger than that of b before it, 0x2"},
		"at the same instant": {[]Entry{{at(0), "a", "works", 1}, {at(0), "b", "works", 2}}, "a and b led at the same time"},
		"token that stays":    {[]Entry{{at(0), "a", "works", 1}, {at(10), "b", "works", 1}}, "b's token 0x1 is not larger"},
	} {
		t.Run(name, func(t *testing.T) {
			j := Journal{entries: test.log}
			require.ErrorContains(t, CheckOrder(j.Reigns()), test.want)
		})
	}
}
