package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
)

// Entry is one znode of the registry. [Decode] reads the instance that it describes.
type Entry struct {
	Key      string // full path, below the chroot
	Value    string
	Modified int64 // zxid of the last write; of two entries, the one with the larger zxid was written later
	Written  time.Time
}

// watchRetry is how long Watch waits before it asks again if ZooKeeper has not answered.
// The driver tries servers at the same pace.
const watchRetry = time.Second

// Watch yields the children of dir, such as "/service-discovery/bookService", now and
// after every change, sorted by key. If it cannot read them, it yields the error instead
// and tries again; what it yielded before is then the best that is known. If dir does not
// exist yet, it has no children. The sequence ends when ctx does, or with
// [election.ErrClosed] when the client is closed. Several may run at once.
func (r *Registry) Watch(ctx context.Context, dir string) iter.Seq2[[]Entry, error] {
	return func(yield func([]Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w := watcher{Registry: r, dir: strings.TrimRight(dir, "/"), known: map[string]Entry{}, fired: make(chan string)}
		for {
			err := w.refresh(ctx)
			if ctx.Err() != nil || !yield(w.entries(err), err) || errors.Is(err, election.ErrClosed) {
				return
			}
			w.wait(ctx, err)
		}
	}
}

// watcher remembers each znode that it has read until the watch on it fires. If it read
// everything again at every change, it would leave one more watch on each quiet znode
// every time.
type watcher struct {
	*Registry
	dir    string
	listed bool             // names is up to date
	names  []string         // children
	known  map[string]Entry // by name; a child that has to be read is absent
	fired  chan string      // the child whose watch has fired; "" for the list of children
}

// refresh reads everything that is not known.
func (w *watcher) refresh(ctx context.Context) error {
	if !w.listed {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	for _, name := range w.names {
		if _, ok := w.known[name]; ok {
			continue
		}
		if err := w.read(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) list(ctx context.Context) error {
	var names []string
	var watch <-chan zk.Event
	err := w.client.Do(ctx, func(conn *zk.Conn) (err error) {
		for {
			names, _, watch, err = conn.ChildrenW(w.chroot + w.dir)
			if !errors.Is(err, zk.ErrNoNode) {
				return err
			}
			var found bool
			if found, _, watch, err = conn.ExistsW(w.chroot + w.dir); !found || err != nil {
				return err
			} // otherwise it was created just now
		}
	})
	if err != nil {
		return err
	}
	w.listed, w.names = true, names
	go w.await(ctx, "", watch)
	return nil
}

func (w *watcher) read(ctx context.Context, name string) error {
	key := w.dir + "/" + name
	var e Entry
	var watch <-chan zk.Event
	err := w.client.Do(ctx, func(conn *zk.Conn) error {
		data, stat, fires, err := conn.GetW(w.chroot + key)
		if err == nil {
			e = Entry{Key: key, Value: string(data), Modified: stat.Mzxid, Written: time.UnixMilli(stat.Mtime)}
		}
		watch = fires
		return err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil // deleted since the list was read; the list's watch will fire
	}
	if err != nil {
		return err
	}
	w.known[name] = e
	go w.await(ctx, name, watch)
	return nil
}

// await reports on fired when the watch fires. If the session expires, all watches fire.
func (w *watcher) await(ctx context.Context, name string, watch <-chan zk.Event) {
	select {
	case <-watch:
	case <-ctx.Done():
		return
	}
	select {
	case w.fired <- name:
	case <-ctx.Done():
	}
}

// wait returns when something has to be read again. It takes all watches that have fired
// by then.
func (w *watcher) wait(ctx context.Context, err error) {
	var retry <-chan time.Time
	if err != nil {
		retry = time.After(watchRetry)
	}
	select {
	case name := <-w.fired:
		w.forget(name)
	case <-retry:
	case <-ctx.Done():
	}
	for {
		select {
		case name := <-w.fired:
			w.forget(name)
		default:
			return
		}
	}
}

func (w *watcher) forget(name string) {
	if name == "" {
		w.listed = false
		return
	}
	delete(w.known, name)
}

// entries returns what is known of the children, or nil after an error, because it is not
// complete then.
func (w *watcher) entries(err error) []Entry {
	if err != nil {
		return nil
	}
	var all []Entry
	for _, name := range w.names {
		if e, ok := w.known[name]; ok {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// Newest returns the leader's entry: of all entries whose payload says that they lead,
// the one that was written last. It returns false if there is none. There may be several,
// because a node that hands over says so after the next one may have begun. A claim is
// written only while its term lasts (see [Registration.Claim]). So the latest claim is the
// leader's.
func Newest(entries []Entry) (Entry, bool) {
	var newest Entry
	for _, e := range entries {
		var in Instance
		if json.Unmarshal([]byte(e.Value), &in) == nil && in.Payload.Leader && e.Modified > newest.Modified {
			newest = e
		}
	}
	return newest, newest.Modified != 0
}
