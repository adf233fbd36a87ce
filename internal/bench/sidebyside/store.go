package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zkelection/election/internal/interop"
	"github.com/zkelection/election/internal/process"
	"github.com/zkelection/election/internal/zktest"
)

// store is a server, and what an operator does to it.
type store interface {
	addr() string
	served() int64                   // since when it serves, in the machine's monotonic time
	start(ctx context.Context) error // on its data
	stop() error                     // at once, as a crash does; a second call does nothing
	wipe() error                     // deletes the data; it must not run

	// The following work only while it runs.

	makePath(ctx context.Context, path string) error
	entries(ctx context.Context, path string) ([]entry, error)
	remove(ctx context.Context, key string) error
	junk(ctx context.Context, path, name string) (key string, err error)
	// crowd puts n entries at the end of the line, in a session of its own. free ends it.
	crowd(ctx context.Context, c contender, path string, n int) (free func(), err error)
}

// entry is a znode or key in an election's path.
type entry struct {
	key   string
	owner int64  // the session of the znode; 0 for etcd
	value string // the participant's ID in etcd
}

// server is an operating-system process that serves, with its data in a folder.
type server struct {
	folder string
	at     string // host:port
	since  int64  // when it began to serve
	child  *process.Process
	stdin  io.Closer
	said   process.Lines
}

// freeAddr finds a port of the loopback interface.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *server) addr() string  { return s.at }
func (s *server) served() int64 { return s.since }

func (s *server) launch(cmd *exec.Cmd) (err error) {
	out, complaints := process.Split(s.said.Add), process.Split(s.said.Add)
	cmd.Stdout, cmd.Stderr = out, complaints
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	s.child, err = process.Start(cmd, out.End, complaints.End)
	return err
}

// until calls f every 20 ms until it returns nil or ctx ends.
func until(ctx context.Context, f func(context.Context) error) error {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

// zooKeeper is one server of Debian's packages, run as a program of its own. It is an
// ensemble of one, as etcd's server is.
type zooKeeper struct {
	server
	tick     time.Duration
	counters map[string]int32
	conn     *zk.Conn
}

// jars that a server needs, in Debian's folder.
var jars = []string{"zookeeper-jute.jar", "zookeeper.jar", "slf4j-api.jar", "slf4j-simple.jar", "netty-*.jar"}

func serverClassPath() (string, error) {
	var all []string
	for _, pattern := range jars {
		found, err := filepath.Glob("/usr/share/java/" + pattern)
		if err != nil || len(found) == 0 {
			return "", fmt.Errorf("/usr/share/java/%s is missing: .ci/install-packages installs libzookeeper-java", pattern)
		}
		all = append(all, found...)
	}
	return strings.Join(all, ":"), nil
}

// newZooKeeper prepares a server whose paths begin with the counters.
func newZooKeeper(folder string, tick time.Duration, counters map[string]int32) (*zooKeeper, error) {
	at, err := freeAddr()
	z := &zooKeeper{server: server{folder: folder, at: at}, tick: tick, counters: counters}
	if err != nil {
		return nil, err
	}
	return z, z.wipe()
}

func (z *zooKeeper) wipe() error {
	data := filepath.Join(z.folder, "data")
	if err := errors.Join(os.RemoveAll(data), os.MkdirAll(filepath.Join(data, "version-2"), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "myid"), []byte("1\n"), 0o644); err != nil {
		return err
	}
	if z.counters == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(data, "version-2", "snapshot.0"), zktest.Snapshot(z.counters), 0o644)
}

// config is everything that is not the default of ZooKeeper.
func (z *zooKeeper) config() (string, error) {
	peers, err := freeAddr()
	if err != nil {
		return "", err
	}
	votes, err := freeAddr()
	if err != nil {
		return "", err
	}
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	return strings.Join([]string{
		fmt.Sprintf("tickTime=%d", z.tick.Milliseconds()), "initLimit=20", "syncLimit=10",
		"dataDir=" + filepath.Join(z.folder, "data"), "clientPortAddress=127.0.0.1", "clientPort=" + port(z.at),
		"admin.enableServer=false", "maxClientCnxns=0", "4lw.commands.whitelist=srvr", "standaloneEnabled=false",
		fmt.Sprintf("server.1=127.0.0.1:%s:%s", port(peers), port(votes)), ""}, "\n"), nil
}

func (z *zooKeeper) start(ctx context.Context) error {
	path, err := serverClassPath()
	if err != nil {
		return err
	}
	config, err := z.config()
	if err != nil {
		return err
	}
	file := filepath.Join(z.folder, "zoo.cfg")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	// The shell kills the server when its input ends, so the server never outlives this process.
	if err := z.launch(exec.Command("sh", "-c", `"$@" & read -r _; kill -9 $!`, "sh", "java", "-Xmx512m",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", file)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = until(ctx, func(ctx context.Context) error {
		answer, err := zktest.FourLetterAt(ctx, z.at, "srvr")
		if err == nil && !strings.Contains(answer, "Mode:") {
			err = fmt.Errorf("it does not serve: %s", answer)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ZooKeeper: %w\n%s", err, strings.Join(z.said.All(), "\n"))
	}
	z.since = interop.Now()
	z.conn, err = dialZooKeeper(ctx, z.at, 20*z.tick)
	return err
}

func (z *zooKeeper) stop() error {
	if z.conn != nil {
		z.conn.Close()
		z.conn = nil
	}
	if z.child == nil {
		return nil
	}
	err := z.stdin.Close()
	<-z.child.Done()
	z.child = nil
	return err
}

// version returns what the server says it is.
func (z *zooKeeper) version(ctx context.Context) (string, error) {
	answer, err := zktest.FourLetterAt(ctx, z.at, "srvr")
	text, _, _ := strings.Cut(strings.TrimPrefix(answer, "Zookeeper version: "), "-")
	return text, err
}

func (z *zooKeeper) makePath(_ context.Context, path string) error {
	for at := 1; at < len(path); {
		end := len(path)
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			end = at + i
		}
		if _, err := z.conn.Create(path[:end], nil, 0, openACL); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
		at = end + 1
	}
	return nil
}

func (z *zooKeeper) entries(_ context.Context, path string) (all []entry, err error) {
	names, _, err := z.conn.Children(path)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	for _, name := range names {
		if ok, stat, err := z.conn.Exists(path + "/" + name); err == nil && ok {
			all = append(all, entry{key: path + "/" + name, owner: stat.EphemeralOwner})
		}
	}
	return all, err
}

func (z *zooKeeper) remove(_ context.Context, key string) error { return z.conn.Delete(key, -1) }

func (z *zooKeeper) junk(_ context.Context, path, name string) (string, error) {
	return z.conn.Create(path+"/"+name, nil, 0, openACL)
}

func (z *zooKeeper) crowd(ctx context.Context, c contender, path string, n int) (func(), error) {
	conn, err := dialZooKeeper(ctx, z.at, 20*z.tick)
	if err != nil {
		return nil, err
	}
	for n > 0 {
		ops := make([]any, min(n, 100))
		for i := range ops {
			ops[i] = &zk.CreateRequest{Path: path + "/" + c.name(), Data: []byte("crowd"), Acl: openACL, Flags: zk.FlagEphemeralSequential}
		}
		if _, err := conn.Multi(ops...); err != nil {
			conn.Close()
			return nil, err
		}
		n -= len(ops)
	}
	return conn.Close, nil
}

// etcdServer is one embedded server, in a process of its own.
type etcdServer struct {
	server
	client *clientv3.Client
}

func newEtcd(folder string) (*etcdServer, error) {
	at, err := freeAddr()
	return &etcdServer{server: server{folder: folder, at: at}}, err
}

func (e *etcdServer) wipe() error { return os.RemoveAll(filepath.Join(e.folder, "etcd")) }

func (e *etcdServer) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	peers, err := freeAddr()
	if err != nil {
		return err
	}
	from := len(e.said.All())
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), etcdEnv+"="+strings.Join([]string{e.folder, e.at, peers}, " "))
	if err := e.launch(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := e.said.Await(ctx, e.child, from, "ready", func(line string) bool { return line == "ready" }); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	e.since = interop.Now()
	e.client, err = dialEtcd(e.at)
	return err
}

func (e *etcdServer) stop() error {
	if e.client != nil {
		_ = e.client.Close()
		e.client = nil
	}
	if e.child == nil {
		return nil
	}
	err := e.child.Kill()
	<-e.child.Done()
	e.child = nil
	return err
}

func (e *etcdServer) makePath(context.Context, string) error { return nil }

func (e *etcdServer) entries(ctx context.Context, path string) (all []entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := e.client.Get(ctx, path+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range got.Kvs {
		all = append(all, entry{key: string(kv.Key), value: string(kv.Value)})
	}
	return all, nil
}

func (e *etcdServer) remove(ctx context.Context, key string) error {
	_, err := e.client.Delete(ctx, key)
	return err
}

func (e *etcdServer) junk(ctx context.Context, path, name string) (string, error) {
	_, err := e.client.Put(ctx, path+"/"+name, "junk")
	return path + "/" + name, err
}

func (e *etcdServer) crowd(ctx context.Context, _ contender, path string, n int) (func(), error) {
	lease, err := e.client.Grant(ctx, 600)
	if err != nil {
		return nil, err
	}
	for i := range n {
		// The names are like those of Election, which has one lease for each key.
		if _, err := e.client.Put(ctx, fmt.Sprintf("%s/%x", path, int64(lease.ID)+1+int64(i)), "crowd", clientv3.WithLease(lease.ID)); err != nil {
			return nil, err
		}
	}
	return func() {
		ctx, cancel := within()
		defer cancel()
		_, _ = e.client.Revoke(ctx, lease.ID)
	}, nil
}

// mine returns the entries of a peer's participant.
func (p *proc) mine(ctx context.Context, path, id string) (keys []string, err error) {
	all, err := p.store.entries(ctx, path)
	if err != nil {
		return nil, err
	}
	var sessions []int64
	for _, s := range p.proxy.Sessions() {
		sessions = append(sessions, s.ID)
	}
	for _, e := range all {
		if p.etcd && e.value == id || !p.etcd && slices.Contains(sessions, e.owner) {
			keys = append(keys, e.key)
		}
	}
	return keys, nil
}
