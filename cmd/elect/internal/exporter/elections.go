package exporter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
)

// elections are what an exporter reports. It is a prometheus.Collector.
type elections struct {
	client  *election.Client
	reader  snapshot.Reader
	timeout time.Duration // of all readings of one scrape
	log     *slog.Logger
	wg      sync.WaitGroup

	mu     sync.Mutex // guards the following
	closed bool
	named  map[string]bool // paths of the command line, which are reported for ever
	byPath map[string]*followed
}

// followed is one election.
type followed struct {
	path   string
	cancel context.CancelFunc

	mu      sync.Mutex // guards the following
	token   int64      // of the first in line, as last seen; 0: none yet
	changes int
	success time.Time // when the election was last read
}

func newElections(client *election.Client, reader snapshot.Reader, timeout time.Duration, log *slog.Logger) *elections {
	return &elections{client: client, reader: reader, timeout: timeout, log: log, named: map[string]bool{}, byPath: map[string]*followed{}}
}

// follow adds paths that are reported for ever.
func (es *elections) follow(paths []string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for _, path := range paths {
		es.named[path] = true
		es.begin(path)
	}
}

// found replaces the paths that have been found by those that are found now.
func (es *elections) found(paths []string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for path, f := range es.byPath {
		if !es.named[path] && !slices.Contains(paths, path) {
			f.cancel()
			delete(es.byPath, path)
		}
	}
	for _, path := range paths {
		es.begin(path)
	}
}

// begin follows an election, unless it is followed already. The lock must be held.
func (es *elections) begin(path string) {
	if es.closed || es.byPath[path] != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &followed{path: path, cancel: cancel}
	es.byPath[path] = f
	es.wg.Go(func() {
		for p, err := range es.client.Observe(ctx, path) {
			if err == nil {
				f.sees(p.Token)
			} else if errors.Is(err, election.ErrClosed) {
				return
			}
		}
	})
}

// sees counts a change of the leader. The first leader that is seen is none, since it may
// have led for long. While nobody leads, there is no change: the next leader is one.
func (f *followed) sees(token int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token != 0 && f.token != token {
		f.changes++
	}
	f.token = token
}

// close stops following, and waits for that.
func (es *elections) close() {
	es.mu.Lock()
	es.closed = true
	for _, f := range es.byPath {
		f.cancel()
	}
	es.mu.Unlock()
	es.wg.Wait()
}

// all returns the elections, by path.
func (es *elections) all() []*followed {
	es.mu.Lock()
	defer es.mu.Unlock()
	var all []*followed
	for _, f := range es.byPath {
		all = append(all, f)
	}
	return all
}

// How far elections are searched for.
const (
	depth  = 16
	znodes = 20_000
)

// discover finds elections below the roots again and again, until ctx ends or stop is
// called. stop waits for the end.
func (es *elections) discover(ctx context.Context, roots []string, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			paths, err := es.find(ctx, roots)
			if err == nil {
				es.found(paths)
			} else if ctx.Err() == nil {
				es.log.Warn("elections cannot be found now; those that are known are kept", "below", roots, "error", err)
			}
			timer := time.NewTimer(every)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (es *elections) find(ctx context.Context, roots []string) (paths []string, err error) {
	for _, root := range roots {
		found, err := es.reader.Find(ctx, root, snapshot.Bounds{Depth: depth, Znodes: znodes})
		if err != nil {
			return nil, err
		}
		if found.Stopped || found.Deeper {
			es.log.Warn("too many znodes to look at all: name the elections, or a root further down", "below", root)
		}
		paths = append(paths, found.Elections...)
	}
	return paths, nil
}
