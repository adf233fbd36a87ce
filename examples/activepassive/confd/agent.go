package confd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zkelection/election/examples/activepassive/discovery"
)

// retryAfter is how long after a failed check or reload the agent tries again if the
// registry does not change. The cause, such as a name that could not be looked up, may
// have been corrected outside of the registry.
const retryAfter = 5 * time.Second

// Agent keeps one file up to date with the registry: see [Agent.Run]. All exported fields
// are required.
type Agent struct {
	Registry *discovery.Registry // the registry to follow
	Template Template            // what [Load] has returned
	Log      *slog.Logger

	reloadDue bool // dest was replaced, and the balancer has not reloaded it since, as far as is known
}

// seen is what the watch of one key has yielded.
type seen struct {
	key     string
	entries []discovery.Entry
}

// Run follows the registry until ctx ends, and then returns nil. It logs errors and tries
// again. If once is true, Run returns as soon as the file is up to date, or returns the
// first error. Only one Run at a time may be going on.
//
// While ZooKeeper cannot be read, Run renders nothing, and the last good file stays. So
// nodes that work are not taken out of service because the registry does not work.
//
// Unless once is true, Run begins with a reload. An earlier agent may have been killed
// after it replaced the file and before it ran the reload, and the file does not show
// that.
func (a *Agent) Run(ctx context.Context, once bool) error {
	a.reloadDue = !once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan seen)
	for _, key := range a.Template.Keys {
		go a.watch(ctx, key, changes)
	}
	known := map[string][]discovery.Entry{}
	var retry <-chan time.Time
	for {
		select {
		case s := <-changes:
			known[s.key] = s.entries
		case <-retry:
		case <-ctx.Done():
			return nil
		}
		if len(known) < len(a.Template.Keys) {
			continue // some keys have not been read yet
		}
		err := a.update(ctx, known)
		if once {
			return err
		}
		retry = nil
		if err != nil && ctx.Err() == nil {
			a.Log.Error("will try again at the next change", "at the latest in", retryAfter, "error", err)
			retry = time.After(retryAfter)
		}
	}
}

func (a *Agent) watch(ctx context.Context, key string, changes chan<- seen) {
	away := false // whether the last message said that the registry cannot be read
	for entries, err := range a.Registry.Watch(ctx, key) {
		if err != nil {
			if !away {
				a.Log.Warn("cannot read the registry, keeping the file as it is", "key", key, "error", err)
			}
			away = true
			continue
		}
		if away {
			a.Log.Info("the registry is back", "key", key)
		}
		away = false
		select {
		case changes <- seen{key, entries}:
		case <-ctx.Done():
		}
	}
}

func (a *Agent) update(ctx context.Context, known map[string][]discovery.Entry) error {
	var entries []discovery.Entry
	for _, key := range a.Template.Keys {
		entries = append(entries, known[key]...)
	}
	content, err := render(a.Template.Src, entries, a.Log)
	if err != nil {
		return fmt.Errorf("render %s: %w", a.Template.Src, err)
	}
	changed, err := a.Template.apply(ctx, content)
	if err != nil {
		return err
	}
	if changed {
		a.Log.Info("target config has been updated", "dest", a.Template.Dest, "entries", len(entries))
	}
	if a.reloadDue = a.reloadDue || changed; a.reloadDue {
		if err := a.Template.reload(ctx); err != nil {
			return err
		}
		a.reloadDue = false
	}
	return nil
}
