package recipes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// trimmed is text without indentation.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// What the page shows is what the examples and tests run.
func TestSnippetsOfThePageAreFromHere(t *testing.T) {
	page, err := os.ReadFile("../../docs/recipes.md")
	require.NoError(t, err)
	var code string
	for _, pattern := range []string{"*.go", "../../contrib/gocron/example_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			code += trimmed(string(text))
		}
	}
	snippets := regexp.MustCompile("(?s)\n```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, snippets, 8)
	for _, s := range snippets {
		require.Contains(t, code, trimmed(s[1]))
	}
}

// pair starts two candidates of which the first leads.
func pair(t *testing.T) (a, b *election.Candidate) {
	t.Helper()
	zk := electiontest.New(t)
	for _, name := range []string{"a", "b"} {
		client, c := takePart(zk.Servers, name)
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		require.NoError(t, c.Start(t.Context()))
		a, b = b, c
	}
	zk.AwaitLeader("/nightly-job", "a")
	return a, b
}

// successor is how long after a's resignation b leads.
func successor(t *testing.T, a, b *election.Candidate) time.Duration {
	t.Helper()
	began, resigned := time.Now(), make(chan error, 1)
	go func() { resigned <- a.Resign(t.Context()) }()
	_, err := b.Await(t.Context())
	require.NoError(t, err)
	require.NoError(t, <-resigned)
	return time.Since(began)
}

// Both forms of a cron job: only the leader's runs, and b leads when it has returned.
func TestACronJobRunsAtTheLeaderAndHoldsTheTerm(t *testing.T) {
	for name, job := range map[string]func(*election.Candidate, func()) cron.Job{
		"whileLeading": func(c *election.Candidate, work func()) cron.Job {
			return cron.NewChain(whileLeading(c)).Then(cron.FuncJob(work))
		},
		"inTerm": func(c *election.Candidate, work func()) cron.Job {
			return inTerm(c, func(ctx context.Context, term *election.Term) error {
				require.NotZero(t, term.Token())
				work()
				require.ErrorIs(t, context.Cause(ctx), election.ErrResigned)
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(t)
				job(b, func() { t.Error("the job runs where another one leads") }).Run()
				begun := make(chan struct{})
				go job(a, func() {
					close(begun)
					time.Sleep(time.Minute)
				}).Run()
				<-begun
				require.Equal(t, time.Minute, successor(t, a, b).Round(time.Second))
			})
		})
	}
}

// A job that panics gives the term back. cron.Recover stands before whileLeading.
func TestACronJobThatPanicsReleasesTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		chain := cron.NewChain(cron.Recover(cron.DiscardLogger), whileLeading(a))
		chain.Then(cron.FuncJob(func() { panic("a mistake") })).Run()
		require.Less(t, successor(t, a, b), time.Second)
	})
}

// once is a controller that can be started once, like controller-runtime's.
type once struct {
	started, stopped int
	start            func(ctx context.Context) error
}

func (o *once) Start(ctx context.Context) error {
	if o.started++; o.started > 1 {
		return errors.New("controller was started more than once")
	}
	defer func() { o.stopped++ }()
	return o.start(ctx)
}

// A controller runs only while its replica leads, and each term has a new one.
func TestEachTermHasAControllerOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk := electiontest.New(t)
		client, candidate := takePart(zk.Servers, "a")
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var made []*once
		manager := make(chan error, 1)
		w := whenLeading{candidate, func() (startable, error) {
			made = append(made, &once{start: func(ctx context.Context) error { <-ctx.Done(); return nil }})
			return made[len(made)-1], nil
		}}
		require.False(t, w.NeedLeaderElection())
		go func() { manager <- w.Start(ctx) }()
		zk.AwaitLeader("/nightly-job", "a")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, made, 1)

		zk.TakeLeadership("/nightly-job")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, made, 2, "it leads again")
		require.Equal(t, []int{1, 1, 1, 0}, []int{made[0].started, made[0].stopped, made[1].started, made[1].stopped})
		cancel()
		require.NoError(t, <-manager)
		require.Equal(t, 1, made[1].stopped)
	})
}

// The manager stops, and with it the process, if a controller fails.
func TestAControllerThatFailsEndsTheRunnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		mine := errors.New("the cache does not sync")
		for want, makes := range map[string]func() (startable, error){
			mine.Error(): func() (startable, error) { return nil, mine },
			"*recipes.once has returned while this replica leads": func() (startable, error) {
				return &once{start: func(context.Context) error { return nil }}, nil
			},
			"started: " + mine.Error(): func() (startable, error) {
				return &once{start: func(context.Context) error { return errors.New("started: " + mine.Error()) }}, nil
			},
		} {
			require.EqualError(t, whenLeading{a, makes}.Start(t.Context()), want)
			_, err := b.Await(t.Context())
			require.NoError(t, err)
			require.NoError(t, a.Start(t.Context()))
			require.NoError(t, b.Resign(t.Context())) // a leads again
			_, err = a.Await(t.Context())
			require.NoError(t, err)
		}
	})
}
