package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheRegisterRefusesLowerTokensAndOtherGenerations(t *testing.T) {
	r, err := OpenRegister(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	c := &registerClient{addr: r.Addr()}
	defer c.Close()
	write := func(election string, gen int, token int64) bool {
		accepted, err := c.write(election, gen, token)
		require.NoError(t, err)
		return accepted
	}
	require.True(t, write("e", 0, 5))
	require.True(t, write("e", 0, 5))
	require.False(t, write("e", 0, 4))
	require.True(t, write("other", 0, 4))
	require.True(t, write("e", 0, 6))

	require.Equal(t, 1, r.Wipe())
	_, err = c.write("e", 0, 7)
	require.ErrorIs(t, err, errOutdated)
	gen, err := c.generation()
	require.NoError(t, err)
	require.Equal(t, 1, gen)
	require.True(t, write("e", gen, 1))
}

func TestTheRegisterOfAnEarlierRunIsReplaced(t *testing.T) {
	dir := t.TempDir()
	for _, token := range []int64{9, 5} {
		r, err := OpenRegister(dir)
		require.NoError(t, err)
		accepted, err := r.Write("e", 0, token)
		require.NoError(t, err)
		require.True(t, accepted)
		require.NoError(t, r.Close())
	}
}

func TestTheRegisterAnswersNobodyAfterItIsClosed(t *testing.T) {
	r, err := OpenRegister(t.TempDir())
	require.NoError(t, err)
	c := &registerClient{addr: r.Addr()}
	_, err = c.generation()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = c.write("e", 0, 1)
	require.Error(t, err)
}

func TestATokenInJSONIsHexadecimal(t *testing.T) {
	text, err := json.Marshal(Event{Token: 1<<60 + 1})
	require.NoError(t, err)
	require.Contains(t, string(text), `"0x1000000000000001"`)
	var e Event
	require.NoError(t, json.Unmarshal(text, &e))
	require.Equal(t, Token(1<<60+1), e.Token)
}

// drawn returns the picture of a story.
func drawn(t *testing.T, s *story) string {
	t.Helper()
	text, err := xml.Marshal(newPicture(s.events).svgPicture)
	require.NoError(t, err)
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		_, err := d.Token()
		if err == io.EOF {
			return string(text)
		}
		require.NoError(t, err)
	}
}

func TestThePictureShowsWhoLedWhichFaultsAndOverlaps(t *testing.T) {
	const second = 1e9
	s := &story{}
	s.add(0, "a#1", saysStarted, 0)
	s.add(0, "b#1", saysStarted, 0)
	s.add(second, "a#1", saysBegan, 1)
	s.leads("a#1", 1, second, 20*second)
	fault := s.add(20*second, "a#1", saysFault, 0)
	fault.Text, fault.Op = "candidate stopped", 1
	fault = s.add(25*second, "a#1", saysHealed, 0)
	fault.Text, fault.Op = "candidate stopped", 1
	s.leads("b#1", 2, 22*second, 100*second)
	text := drawn(t, s)
	require.Contains(t, text, "1 terms, 0 overlaps")
	require.Contains(t, text, "candidate stopped")
	for _, want := range []struct {
		from, to float64
		fill     string
	}{{1, 20, colourLeads}, {20, 25, colourFault}, {22, 100, colourLeads}} {
		found := slices.ContainsFunc(newPicture(s.events).Parts, func(part any) bool {
			r, ok := part.(svgRect)
			return ok && r.Fill == want.fill && r.X == labelWidth+want.from*perSecond && r.Width == (want.to-want.from)*perSecond
		})
		require.True(t, found, want)
	}
	require.Equal(t, 1, strings.Count(text, colourOverlap), "in the legend")

	s.leads("a#1", 3, 90*second, 95*second)
	require.Equal(t, 4, strings.Count(drawn(t, s), colourOverlap), "the title, the legend, and both rows")
}
