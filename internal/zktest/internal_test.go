package zktest

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if play := os.Getenv(envPlay); play != "" {
		os.Exit(plays[play]())
	}
	os.Exit(Main(m))
}

func TestDecodeNeverPanicsOnShortFrames(t *testing.T) {
	for n := range 64 {
		body := bytes.Repeat([]byte{0xff}, n)
		require.NotPanics(t, func() {
			decodeRequest(body)
			decodeReply(body)
			decodeConnect(body)
			decodeConnected(body)
		})
	}
}

func TestOptionsOverrideDefaults(t *testing.T) {
	s := newSettings([]Option{WithSyncLimit(9), WithConfig("tickTime", "100"), WithSystemProperty("jute.maxbuffer", "5")})
	cfg := s.zooCfg()
	require.Contains(t, cfg, "syncLimit=9\n")
	require.Contains(t, cfg, "tickTime=100\n")
	require.Contains(t, s.javaOptions(), "-Djute.maxbuffer=5")
}
