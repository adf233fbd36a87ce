package zktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// envPlay turns the test binary into a stand-in for the program in the folder containers.
const envPlay = "ZKTEST_PLAY"

var plays = map[string]func() int{
	"echo":      echo,
	"backwards": backwards,
	"silent":    func() int { return backwardsOf(1 << 30) },
	"dies": func() int {
		bufio.NewScanner(os.Stdin).Scan()
		fmt.Fprintln(os.Stderr, "cannot compile")
		return 3
	},
	"babbles": func() int { fmt.Println("go: hello"); return backwardsOf(1 << 30) },
	"fails":   func() int { echo(); fmt.Fprintln(os.Stderr, "cannot remove"); return 1 },
}

// echo answers each request with its params as the result. If the params are a string, they are the error instead.
func echo() int {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var r struct {
			ID     int64
			Params json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return 2
		}
		if key := "result"; strings.HasPrefix(string(r.Params), `"`) {
			fmt.Printf("{\"id\":%d,\"error\":%s}\n", r.ID, r.Params)
		} else {
			fmt.Printf("{\"id\":%d,%q:%s}\n", r.ID, key, r.Params)
		}
	}
	return 0
}

// backwards collects ten requests and answers the last one first. It writes each answer slowly, in two pieces.
func backwards() int { return backwardsOf(10) }

func backwardsOf(n int) int {
	lines := bufio.NewScanner(os.Stdin)
	var all []request
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return 2
		}
		if all = append(all, r); len(all) < n {
			continue
		}
		for i := range all {
			r := all[len(all)-1-i]
			fmt.Printf("{\"id\":%d,", r.ID)
			time.Sleep(10 * time.Millisecond)
			fmt.Printf("\"result\":%v}\n", r.Params)
		}
		all = nil
	}
	return 0
}

func play(t *testing.T, what string) *process {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPlay+"="+what)
	p, err := startProcess(cmd)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.close(); goleak.VerifyNone(t, leaks) })
	return p
}

func TestACallReturnsItsResultOrItsError(t *testing.T) {
	p := play(t, "echo")
	before := goleak.IgnoreCurrent()
	var n int
	require.NoError(t, p.call(t.Context(), "m", 7, &n))
	require.Equal(t, 7, n)
	require.EqualError(t, p.call(t.Context(), "m", "no luck", &n), "no luck")
	require.ErrorContains(t, p.call(t.Context(), "m", []int{1}, &n), "result of m")
	goleak.VerifyNone(t, before)
	require.NoError(t, p.close())
	require.ErrorContains(t, p.call(t.Context(), "m", 7, &n), "was closed")
}

func TestCallsAtTheSameTimeGetTheirOwnAnswers(t *testing.T) {
	p := play(t, "backwards")
	var work sync.WaitGroup
	var errs [40]error
	for i := range errs {
		work.Go(func() {
			var n int
			errs[i] = p.call(t.Context(), "m", i, &n)
			if errs[i] == nil && n != i {
				errs[i] = fmt.Errorf("%d for %d", n, i)
			}
		})
	}
	work.Wait()
	require.NoError(t, errors.Join(errs[:]...))
}

func TestACallEndsWithItsContextAndLeavesTheOthersAlone(t *testing.T) {
	p := play(t, "backwards")
	ended, end := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for i := range 4 { // one of them reads the answers. Each also sends a cancel, so the stand-in gets eight requests
		work.Go(func() {
			if err := p.call(ended, "m", i, nil); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, end)
	work.Wait()
	for i := range 2 {
		work.Go(func() {
			var n int
			if err := p.call(t.Context(), "m", i, &n); err != nil || n != i {
				t.Error(n, err)
			}
		})
	}
	work.Wait()
}

func TestADeadProgramSaysWhy(t *testing.T) {
	p := play(t, "dies")
	var work sync.WaitGroup
	for range 3 {
		work.Go(func() {
			err := p.call(t.Context(), "m", 1, nil)
			for _, text := range []string{"zktest: the program that starts servers ended", "exit status 3", "cannot compile"} {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%v: want %s", err, text)
				}
			}
		})
	}
	work.Wait()
	require.ErrorContains(t, p.call(t.Context(), "m", 1, nil), "cannot compile", "it stays so")
	require.NoError(t, p.close())
}

func TestWhatIsNoAnswerEndsTheProgram(t *testing.T) {
	p := play(t, "babbles")
	require.ErrorContains(t, p.call(t.Context(), "m", 1, nil), `"go: hello\n"`)
}

func TestCloseTellsWhatCouldNotBeRemoved(t *testing.T) {
	p := play(t, "fails")
	require.NoError(t, p.call(t.Context(), "m", 1, nil))
	require.ErrorContains(t, p.close(), "cannot remove")
}

func TestTheProgramIsFoundBesideItsUser(t *testing.T) {
	dir, err := containersDir()
	require.NoError(t, err)
	require.FileExists(t, dir+"/main.go")
}
