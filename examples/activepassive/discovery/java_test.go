package discovery_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/examples/activepassive/discovery"
	"github.com/zkelection/election/internal/zktest"
)

// jars are the jars of Curator and of what it needs, at the paths of Debian's packages.
var jars = []string{"curator-x-discovery", "curator-framework", "curator-client", "curator-recipes", "zookeeper",
	"zookeeper-jute", "guava", "jackson-core", "jackson-databind", "jackson-annotations", "slf4j-api", "slf4j-nop",
	"netty-all", "snappy-java", "metrics-core"}

// classpath returns the class path. If a jar is missing, it fails the test and says what
// to install.
func classpath(t *testing.T) string {
	t.Helper()
	var paths, missing []string
	for _, jar := range jars {
		path := filepath.Join("/usr/share/java", jar+".jar")
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, path)
		}
		paths = append(paths, path)
	}
	if _, err := exec.LookPath("javac"); err != nil {
		missing = append(missing, "javac")
	}
	if len(missing) > 0 {
		require.FailNow(t, "Curator is not installed; on Debian: "+
			"apt-get install openjdk-17-jdk-headless libcurator-discovery-java libcurator-recipes-java", "missing: %v", missing)
	}
	return strings.Join(paths, ":")
}

// compile returns the class path with the program in testdata.
func compile(t *testing.T) string {
	t.Helper()
	var sources []string
	require.NoError(t, filepath.WalkDir("testdata/java", func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".java") {
			sources = append(sources, path)
		}
		return err
	}))
	libraries, classes := classpath(t), t.TempDir()
	out, err := exec.CommandContext(within(t), "javac",
		append([]string{"-cp", libraries, "-d", classes}, sources...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return libraries + ":" + classes
}

func TestCuratorReadsOurInstancesAndWeReadCurators(t *testing.T) {
	zktest.SkipIfShort(t, "a JDK, Curator, and a real ZooKeeper")
	place := root(t)
	servers := zktest.Shared(t).Addr()
	ours := registry(t, servers+place)
	_, in := register(t, ours, 8070)
	leads, leader := register(t, ours, 8071)
	leads.Claim(term(t, servers+place))
	await := follow(t, registry(t, servers+place))
	await("our claim", func(e []discovery.Entry) bool { return len(e) == 2 && (leading(e[0]) || leading(e[1])) })

	// Here the chroot is a part of Curator's base path.
	java := exec.CommandContext(within(t), "java", "-cp", compile(t), "Discover", servers, place+base)
	java.Stderr = os.Stderr
	stdin, err := java.StdinPipe()
	require.NoError(t, err)
	stdout, err := java.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, java.Start())
	found := readUntilDone(t, stdout)
	require.Contains(t, found, fmt.Sprintf("bookService %s http://127.0.0.1:8070 leader=false DYNAMIC enabled=true sslPort=null registered=%d",
		in.ID, in.Registered))
	require.Contains(t, found, fmt.Sprintf("bookService %s http://127.0.0.1:8071 leader=true DYNAMIC enabled=true sslPort=null registered=%d",
		leader.ID, leader.Registered))
	require.Len(t, found, 3, "ours and its own: %v", found)

	all := await("Curator's instance", func(e []discovery.Entry) bool { return len(e) == 3 })
	curators, ok := discovery.Newest(all)
	require.True(t, ok, "it says that it leads: %v", all)
	require.Contains(t, curators.Value, `"port":8090`)
	require.NoError(t, stdin.Close())
	require.NoError(t, java.Wait())
	await("Curator gone", func(e []discovery.Entry) bool { return len(e) == 2 })
}

// term returns a term that lasts as long as the test.
func term(t *testing.T, at string) *election.Term {
	t.Helper()
	client, _ := connect(t, at)
	candidate, err := election.NewCandidate(client, "/example/leader")
	require.NoError(t, err)
	leads, err := candidate.Await(within(t))
	require.NoError(t, err)
	return leads
}

func readUntilDone(t *testing.T, r io.Reader) (lines []string) {
	t.Helper()
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		if scan.Text() == "done" {
			return lines
		}
		lines = append(lines, scan.Text())
	}
	require.FailNow(t, "the Java program ended early", "%v %v", lines, scan.Err())
	return nil
}
