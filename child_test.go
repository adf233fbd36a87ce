package election_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
)

// The child process: this test binary again, told by this variable to lead at "address path" instead of testing.
const childEnv = "ELECTION_TEST_CHILD"

// childTimeout is the child's session timeout.
const childTimeout = 2 * time.Second

// startChild runs this binary as a candidate at path. says returns the words of the child's next line, which must
// begin with the given one: the second word, and the rest.
func startChild(t *testing.T, path string) (*process.Process, func(string) []string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	lines := make(chan string, 100)
	out := process.Split(func(line string) { lines <- line })
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+zktest.Shared(t).Addr()+" "+path)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	child, err := process.Start(cmd, out.End, func() { close(lines) })
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = child.Kill()
		for range lines {
		}
		<-child.Done()
	})
	return child, func(want string) []string {
		t.Helper()
		word, rest, _ := strings.Cut(receive(t, lines, "the child's "+want), " ")
		require.Equal(t, want, word, rest)
		return strings.SplitN(rest, " ", 2)
	}
}

func number(t *testing.T, words []string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(words[0], 10, 64)
	require.NoError(t, err)
	return n
}

// childMain leads, samples its belief in a tight loop until a pause of the whole process has passed, and says what it
// saw, one fact a line: "leads <token>", "believed <unix ns>", "woke <HasLeadership> <Err> <context's Err>",
// "done <cause>", "stands <token>", "leads <token>".
func childMain(what string) int {
	addr, path, _ := strings.Cut(what, " ")
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	client, err := election.Connect(ctx, addr, election.WithSessionTimeout(childTimeout), election.WithClientLogger(silent))
	if err != nil {
		fmt.Println("cannot connect:", err)
		return 1
	}
	cand, err := election.NewCandidate(client, path, election.WithID("child"))
	if err != nil {
		fmt.Println("cannot stand:", err)
		return 1
	}
	term, err := cand.Await(ctx)
	if err != nil {
		fmt.Println("cannot lead:", err)
		return 1
	}
	fmt.Println("leads", term.Token())
	childSample(cand, term)
	<-term.Done()
	fmt.Printf("done %q\n", term.Err())
	if err := cand.Start(ctx); err != nil { // returns when it stands again
		fmt.Println("cannot stand again:", err)
		return 1
	}
	for cand.Status().Token <= term.Token() { // the old znode's until its end is known, none until the new one is read
		runtime.Gosched()
	}
	fmt.Println("stands", cand.Status().Token)
	if term, err = cand.Await(ctx); err == nil {
		fmt.Println("leads", term.Token())
	}
	return 0
}

// childSample returns after the first sample that began after a pause of more than half a session. Nothing of the
// library can have run between the end of the pause and that sample other than by a scheduler that was quicker.
func childSample(cand *election.Candidate, term *election.Term) {
	believed, last := time.Now(), time.Now()
	for {
		now := time.Now()
		has := cand.HasLeadership()
		if now.Sub(last) > childTimeout/2 {
			fmt.Println("believed", believed.UnixNano())
			fmt.Printf("woke %v %q %q\n", has, term.Err(), term.Context().Err())
			return
		}
		if has {
			believed = now
		}
		last = now
	}
}
