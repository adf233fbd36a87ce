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
)

// Entry is one znode of the registry.
type Entry struct {
	Key      string // full path, below the chroot
	Value    string
	Modified int64 // zxid of the last write: of two entries, the larger one is the later write
	Written  time.Time
}

// watchRetry is how long Watch waits before it looks again when ZooKeeper did not answer. It is the driver's own
// pace of trying servers.
const watchRetry = time.Second

// Watch yields the children of dir, sorted by key, now and after every change. When they cannot be read, it yields
// the error instead and goes on trying; what was yielded before is then the best that is known. It ends with ctx.
func (c *Conn) Watch(ctx context.Context, dir string) iter.Seq2[[]Entry, error] {
	return func(yield func([]Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		w := watcher{conn: c, dir: strings.TrimRight(dir, "/"), known: map[string]Entry{}, fired: make(chan string)}
		for ctx.Err() == nil {
			err := w.refresh(ctx)
			if ctx.Err() != nil || !yield(w.entries(err), err) {
				return
			}
			w.wait(ctx, err)
		}
	}
}

// watcher keeps what it has read as long as the watch on it has not fired: reading everything again at every change
// would leave one more watch on each quiet znode, without end.
type watcher struct {
	conn   *Conn
	dir    string
	listed bool             // names is up to date
	names  []string         // children
	known  map[string]Entry // by name; absent when it has to be read
	fired  chan string      // the child whose watch has fired; "" for the list of children
}

// refresh reads what is not known.
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
	names, _, watch, err := w.conn.zk.ChildrenW(w.conn.root + w.dir)
	if errors.Is(err, zk.ErrNoNode) {
		var found bool
		if found, _, watch, err = w.conn.zk.ExistsW(w.conn.root + w.dir); found && err == nil {
			return w.list(ctx) // made just now
		}
	}
	if err != nil {
		return err
	}
	w.listed, w.names = true, names
	go w.await(ctx, "", watch)
	return nil
}

func (w *watcher) read(ctx context.Context, name string) error {
	key := w.dir + "/" + name
	data, stat, watch, err := w.conn.zk.GetW(w.conn.root + key)
	if errors.Is(err, zk.ErrNoNode) {
		return nil // gone since the list was read, whose watch will say so
	}
	if err != nil {
		return err
	}
	w.known[name] = entry(key, data, stat)
	go w.await(ctx, name, watch)
	return nil
}

// await passes on that a watch has fired. An expired session fires all of them.
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

// wait returns when something is to be read again, with all that has fired by then.
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

// entries is what is known of the children that are listed; nothing where that is not all.
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

// Newest returns, of the entries whose payload says that they lead, the one that was written last; false where there
// is none. A claim is written only while its term holds (Registration.Claim), so of several the latest is the
// leader's, and the others are of nodes that are gone and whose sessions have still to end.
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

// Read returns the children of dir once, in no particular order.
func (c *Conn) Read(dir string) ([]Entry, error) {
	names, _, err := c.zk.Children(c.root + dir)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		key := dir + "/" + name
		data, stat, err := c.zk.Get(c.root + key)
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, entry(key, data, stat))
	}
	return all, nil
}

func entry(key string, data []byte, stat *zk.Stat) Entry {
	return Entry{Key: key, Value: string(data), Modified: stat.Mzxid, Written: time.UnixMilli(stat.Mtime)}
}
