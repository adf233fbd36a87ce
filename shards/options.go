package shards

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// Option changes how [Run] works.
type Option func(*config)

type config struct {
	candidate []election.Option
	log       *slog.Logger
	settle    time.Duration
	errs      []error
}

func (cfg *config) wrong(format string, args ...any) {
	cfg.errs = append(cfg.errs, fmt.Errorf(format, args...))
}

// DefaultSettle is the settle time if [WithSettle] is not given.
const DefaultSettle = time.Second

// WithCandidate gives options to the candidates of all paths. The ID of [election.WithID] must
// differ from process to process. The default ID is the host's name and a random suffix.
//
// All candidates share the same options. So a listener or the function of
// [election.WithOverrun] is called for each path, and each candidate runs its own checks of
// [election.WithHealthCheck]. With [election.WithMaxTerm], elections move even if balancing
// would not move them. WithCandidate may be given more than once.
func WithCandidate(opts ...election.Option) Option {
	return func(cfg *config) { cfg.candidate = append(cfg.candidate, opts...) }
}

// WithLogger sets the logger of balancing. The candidates use it, too, unless [WithCandidate]
// gives them another logger. Balancing logs hand-overs and changes of the number of
// participants at Info, problems that somebody must solve at Warn, and the rest at Debug.
// Default: [slog.Default] for balancing, the client's logger for the candidates.
func WithLogger(log *slog.Logger) Option {
	return func(cfg *config) {
		if log == nil {
			cfg.wrong("WithLogger: logger is nil")
			return
		}
		cfg.log = log
		cfg.candidate = append([]election.Option{election.WithLogger(log)}, cfg.candidate...)
	}
}

// WithSettle sets how long this process waits, after a process has come or gone, before it
// hands anything over. A further change starts the wait again, but the whole wait takes at
// most five times as long. A longer time saves hand-overs while processes are started one
// after the other. Default: [DefaultSettle].
func WithSettle(d time.Duration) Option {
	return func(cfg *config) {
		if d <= 0 {
			cfg.wrong("WithSettle: duration %v is not positive", d)
		}
		cfg.settle = d
	}
}

// newConfig checks all arguments of Run.
func newConfig(ctx context.Context, client *election.Client, paths []string,
	lead func(context.Context, string, *election.Term) error, opts []Option) (*config, error) {
	// One ID for all paths: by its ID a process is known in all lines.
	cfg := &config{settle: DefaultSettle, candidate: []election.Option{election.WithID(defaultID())}}
	if ctx == nil {
		cfg.wrong("ctx is nil")
	}
	if lead == nil {
		cfg.wrong("lead is nil")
	}
	for i, opt := range opts {
		if opt == nil {
			cfg.wrong("option %d is nil", i)
			continue
		}
		opt(cfg)
	}
	cfg.checkPaths(paths)

	// The check of the client and the candidates' options does not depend on the path.
	if _, err := election.NewCandidate(client, "/any", cfg.candidate...); err != nil {
		cfg.errs = append(cfg.errs, err)
	}
	if cfg.log == nil {
		cfg.log = slog.Default()
	}
	return cfg, errors.Join(cfg.errs...)
}

func (cfg *config) checkPaths(paths []string) {
	if len(paths) == 0 {
		cfg.wrong("paths is empty")
	}
	times := map[string]int{}
	for i, path := range paths {
		times[path]++
		if err := znode.CheckPath(path); err != nil {
			cfg.wrong("path %d, %.200q, %w", i, path, err)
		}
		if times[path] == 2 {
			cfg.wrong("path %d, %.200q, is there twice", i, path)
		}
	}
}

func defaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return host + "-" + rand.Text()[:8]
}
