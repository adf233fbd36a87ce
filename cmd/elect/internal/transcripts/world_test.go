package transcripts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
	"github.com/zkelection/election/internal/znode"
)

// world is what one script runs in: a ZooKeeper in memory, candidates, and what else a
// script has started.
type world struct {
	ensemble *zksim.Ensemble
	address  string

	// A script runs one command after another, so nothing guards these.
	clients   map[string]*election.Client
	cands     map[string]*election.Candidate
	sessions  map[string]*zk.Conn
	processes map[string]*process
	code      int // with which the last command has ended
}

// process is a command that runs in the background.
type process struct {
	cmd  *exec.Cmd
	out  string // file of its output
	done chan error
}

// setup makes the world of one script. The default tick is short enough for sessions of 2 s
// and long enough for those of 10 s.
func setup(env *testscript.Env) error {
	w := &world{ensemble: zksim.New(zksim.Config{Tick: time.Second, ContainerCheck: 200 * time.Millisecond}),
		clients: map[string]*election.Client{}, cands: map[string]*election.Candidate{},
		sessions: map[string]*zk.Conn{}, processes: map[string]*process{}}
	env.Defer(w.close)
	at, err := w.ensemble.ListenTCP("127.0.0.1:0")
	if err != nil {
		return err
	}
	w.address = at
	env.Values[worldKey{}] = w
	env.Setenv("ZOOKEEPER_CONNECTION_STRING", at)
	env.Setenv("SERVER", at)
	env.Setenv("PATH", binary+string(os.PathListSeparator)+env.Getenv("PATH"))
	return nil
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func (w *world) close() {
	for _, p := range w.processes {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	for _, conn := range w.sessions {
		conn.Close()
	}
	for _, c := range w.clients {
		_ = c.Close()
	}
	w.ensemble.Close()
}

// client returns a client of the library, by the name of the process that it stands for.
func (w *world) client(name string) (*election.Client, error) {
	if c := w.clients[name]; c != nil {
		return c, nil
	}
	c, err := election.Open(w.ensemble.ConnectString(), election.WithDialer(w.ensemble.DialerFor(name)),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err == nil {
		w.clients[name] = c
	}
	return c, err
}

// session returns a plain session, in which a script makes znodes as other libraries do.
func (w *world) session(name string) (*zk.Conn, error) {
	if c := w.sessions[name]; c != nil {
		return c, nil
	}
	c, _, err := zk.Connect([]string{w.address}, 10*time.Second, zk.WithLogger(silent{}))
	if err == nil {
		w.sessions[name] = c
	}
	return c, err
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// ids returns the IDs in line.
func (w *world) ids(path string) []string {
	all := []string{}
	for _, name := range znode.Sort(w.ensemble.Children(path)) {
		if node, ok := w.ensemble.Get(znode.Join(path, name)); ok {
			id, _ := znode.Unpack(string(node.Data))
			all = append(all, id)
		}
	}
	return all
}

func (w *world) awaitLine(path string, want []string) error {
	err := until(func() bool { return slices.Equal(w.ids(path), want) })
	if err != nil {
		return fmt.Errorf("the line at %s is %q, not %q", path, w.ids(path), want)
	}
	return nil
}

// until waits for a condition.
func until(condition func() bool) error {
	for end := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("it does not come to be")
		}
	}
	return nil
}

// start begins a command whose output goes to the file <name>.out.
func (w *world) start(dir string, env []string, name string, args []string) error {
	if w.processes[name] != nil {
		return fmt.Errorf("there is a process %s already", name)
	}
	path, err := exec.LookPath(filepath.Join(binary, args[0]))
	if err != nil {
		return err
	}
	p := &process{cmd: exec.Command(path, args[1:]...), out: filepath.Join(dir, name+".out"), done: make(chan error, 1)}
	out, err := os.Create(p.out)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, out, out
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.done <- p.cmd.Wait() }()
	w.processes[name] = p
	return nil
}

// end interrupts a process, and returns its exit code.
func (w *world) end(name string, signal os.Signal) (code int, err error) {
	p := w.processes[name]
	if p == nil {
		return 0, fmt.Errorf("there is no process %s", name)
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case err = <-p.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("%s does not end", name)
	}
	delete(w.processes, name)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
