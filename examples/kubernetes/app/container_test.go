package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
	"github.com/zkelection/election/examples/internal/demo"
	"github.com/zkelection/election/internal/zktest"
)

// limit bounds a test. It leaves time for the compiler.
const limit = 5 * time.Minute

var listens = regexp.MustCompile(`listens at (\S+)`)

// The image is that of examples/Dockerfile, whose first stage is replayed by the tests in examples: this one compiles the
// program here, because the compiler's image need not be at hand. The container has the rights that the manifest gives it.
func TestContainerAnswersItsProbesAndStopsInOrder(t *testing.T) {
	zktest.SkipIfShort(t, "Docker")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	zk := electiontest.New(t)
	servers := zk.ListenTCP()
	image := buildImage(t, ctx)

	id := docker(t, ctx, "run", "--detach", "--network=host", "--read-only", "--user=65532:65532", "--cap-drop=ALL",
		"--security-opt=no-new-privileges", "--env=ZOOKEEPER_CONNECTION_STRING="+servers, "--env=POD_NAME=writer-0",
		"--env=POD_IP=127.0.0.1", "--env=POD_REVISION=1", image, "-grace=30s", "-listen=127.0.0.1:0")
	t.Cleanup(func() { docker(t, context.WithoutCancel(ctx), "rm", "--force", id) })
	var url string
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found := listens.FindStringSubmatch(docker(t, ctx, "logs", id))
		require.NotNil(c, found)
		url = "http://" + found[1]
	}, time.Minute, 100*time.Millisecond)

	require.Equal(t, "writer-0", zk.AwaitLeader(electionPath).ID)
	require.Equal(t, strings.TrimPrefix(url, "http://"), zk.Leader(electionPath).Metadata["address"])
	require.Equal(t, "200 live", ask(t, ctx, http.MethodGet, url+"/livez", nil))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "200 ready", ask(t, ctx, http.MethodGet, url+"/readyz", nil))
	}, time.Minute, 50*time.Millisecond)
	require.Regexp(t, `^200 writer-0 has written 3 bytes, token=0x[0-9a-f]+$`, ask(t, ctx, http.MethodPost, url+"/write", strings.NewReader("abc")))

	docker(t, ctx, "stop", "--time=40", id)
	require.Equal(t, "0", docker(t, ctx, "inspect", "--format={{.State.ExitCode}}", id), "SIGTERM is no failure")
	require.Empty(t, zk.Leader(electionPath), "it has left, and nobody waits for the end of its session")
}

// buildImage builds the last stage of the Dockerfile around the program.
func buildImage(t *testing.T, ctx context.Context) (name string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "example"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	_, last, found := strings.Cut(string(text), "\nFROM scratch\n")
	require.True(t, found)
	last = strings.Replace(last, "COPY --from=build /example", "COPY example", 1)
	require.NotContains(t, last, "--from")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"+last), 0o600))

	name = fmt.Sprintf("election_kubernetes_example_test:%d", time.Now().UnixNano())
	docker(t, ctx, "build", "--quiet", "--tag="+name, dir)
	t.Cleanup(func() { docker(t, context.WithoutCancel(ctx), "rmi", "--force", name) })
	return name
}

func docker(t *testing.T, ctx context.Context, args ...string) (output string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "docker %v\n%s", args, &errs)
	return strings.TrimSpace(out.String())
}

func ask(t *testing.T, ctx context.Context, method, url string, body io.Reader) string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(text)))
}

// A request that does not end holds the term. The process exits all the same, with its
// session open: the next replica leads only when that has expired, and by then the work is
// over for certain.
func TestWorkThatDoesNotStopEndsTheProcessAndNotTheSession(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	program, err := demo.Build(ctx, ".", t.TempDir())
	require.NoError(t, err)
	zk := electiontest.New(t)
	p, err := demo.Start(zk.ListenTCP(), nil, program, "-name=a", "-ip=127.0.0.1", "-listen=127.0.0.1:0", "-grace=100ms",
		"-session-timeout="+election.DefaultSessionTimeout.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	_, err = p.Expect(ctx, 0, "a leads token=0x")
	require.NoError(t, err)
	conn, err := net.Dial("tcp", listens.FindStringSubmatch(strings.Join(p.Lines(), "\n"))[1])
	require.NoError(t, err)
	defer conn.Close()

	_, err = conn.Write([]byte("POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue", "the handler reads the body, of which no byte comes")
	require.NoError(t, p.Terminate())
	require.Error(t, p.Wait(ctx), "its exit status says that it did not stop in order")
	require.Equal(t, "a", zk.Leader(electionPath).ID, "nobody else can lead yet")
}
