package zktest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

const envCrash = "ZKTEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(envCrash) != "" {
		crash()
	}
	os.Exit(Main(m))
}

// crash is what the child of TestSweepRemovesWhatACrashLeft does: it leaves an
// ensemble behind.
func crash() {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	e, err := LaunchEnsemble(ctx, 1)
	if err != nil {
		panic(err)
	}
	fmt.Println("left", e.servers[0].container, e.network)
	os.Exit(3)
}

func TestSweepRemovesWhatACrashLeft(t *testing.T) {
	mine := Start(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envCrash+"=1")
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 3", "%s", out)
	left := strings.Fields(string(out[bytes.LastIndex(out, []byte("left ")):]))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	mine.engine.sweep(ctx)
	_, err = mine.engine.cli.ContainerInspect(ctx, left[1], client.ContainerInspectOptions{})
	require.ErrorContains(t, err, "No such container")
	_, err = mine.engine.cli.NetworkInspect(ctx, left[2], client.NetworkInspectOptions{})
	require.ErrorContains(t, err, "not found")
	_, err = mine.Mode(ctx)
	require.NoError(t, err, "the living must be left alone")
}

func TestOrphanedJudgesOnlyProcessesOfThisMachine(t *testing.T) {
	own := ownerLabels()
	require.False(t, orphaned(own))
	own[labelStart] += "0"
	require.True(t, orphaned(own), "the number was given to another process")
	own[labelMachine] = "elsewhere"
	require.False(t, orphaned(own))
	require.False(t, orphaned(nil))
}

func TestParseLddKeepsSystemLibraries(t *testing.T) {
	const out = `/tmp/jre/bin/java:
	linux-vdso.so.1 (0x00007ffd)
	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f01)
	libjli.so => /tmp/jre/bin/../lib/libjli.so (0x00007f02)
	libjvm.so => not found
	/lib64/ld-linux-x86-64.so.2 (0x00007f03)
/tmp/jre/lib/libnet.so:
	libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f04)
`
	require.Equal(t, []string{"/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"}, parseLdd([]byte(out), "/tmp/jre"))
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
