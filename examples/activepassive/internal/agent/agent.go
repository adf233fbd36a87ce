package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/zkelection/election/examples/activepassive/internal/discovery"
)

// retryAfter is when a failed check or reload is tried again if nothing changes until then: what was wrong, a name
// that could not be looked up say, may have been put right outside of the registry.
const retryAfter = 5 * time.Second

// Agent keeps one file in step.
type Agent struct {
	Conn     *discovery.Conn
	Template Template
	Log      *slog.Logger

	reloadDue bool // dest was replaced and the balancer has not been told, or not as far as is known
}

// seen is what one key's watch has yielded.
type seen struct {
	key     string
	entries []discovery.Entry
}

// Run follows the registry until ctx ends. With once, it returns as soon as the file is in step.
//
// While ZooKeeper cannot be read, nothing is rendered, so that the last good file stays: nodes that work are not
// taken out of service because the registry does not.
//
// It begins with a reload, unless it runs once: its predecessor may have been killed between replacing the file and
// telling the balancer, and the file, which is in step, does not say so.
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
			continue // half a picture is none
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
	away := false // said so, and not the end of it
	for entries, err := range a.Conn.Watch(ctx, key) {
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
