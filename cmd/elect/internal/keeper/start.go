//go:build unix

package keeper

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config is what a keeper is to do.
type Config struct {
	Command []string
	Env     []string      // of the command
	Grace   time.Duration // between TERM and KILL
	Early   time.Duration // before the end of the lease, TERM is sent
	Margin  time.Duration // before the end of the lease, KILL is sent
}

// Keeper is a keeper that was started. Its methods may be called from any goroutine.
type Keeper struct {
	cmd     *exec.Cmd
	orders  *os.File
	reports chan Report
	exited  chan struct{}
	wake    chan struct{} // there are orders to write

	mu      sync.Mutex // guards the following; no write is made under it
	end     string     // the latest end of the lease that is still to be told
	words   []string   // the other orders that are
	pid     int        // of the command; 0 before it is known
	settled bool       // all processes are gone, or there were none
}

// Report is news of a command.
type Report struct {
	Ended    bool   // the command and all that it has started are gone, or it was not started
	Started  bool   // false: it was not started
	Late     bool   // it was not started because its term has ended
	Code     int    // the exit code, as a shell would say it
	Problem  string // why it was not started, or why its code is not known; may be empty
	Stopping string // TERM was sent: asked, lease, wrapper or finished
}

// Adopter makes this process fit to end what a keeper leaves behind if it is killed.
type Adopter struct{ not map[int]bool }

// Adopt is called once, before the first Start.
func Adopt() (*Adopter, error) {
	a := &Adopter{not: map[int]bool{}}
	// A shell may have started children before it has turned into this program. They are
	// not ours.
	for _, m := range family(nil) {
		a.not[m.pid] = true
	}
	return a, adoptOrphans()
}

// Start starts a keeper. It starts the command as soon as the lease, which ends at end,
// or later by Extend, has more than cfg.Early left. Its last report is one with Ended. Call Finish in any case.
func Start(cfg Config, end Instant) (*Keeper, error) {
	path, err := self()
	if err != nil {
		return nil, err
	}
	ordersOut, ordersIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reportsOut, reportsIn, err := os.Pipe()
	if err != nil {
		ordersOut.Close()
		ordersIn.Close()
		return nil, err
	}
	defer ordersOut.Close()
	defer reportsIn.Close()

	cmd := exec.Command(path)
	cmd.Args = append([]string{os.Args[0], Name, "-grace", cfg.Grace.String(), "-early", cfg.Early.String(),
		"-margin", cfg.Margin.String(), "--"}, cfg.Command...)
	cmd.Env = cfg.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{ordersOut, reportsIn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of reach of signals to our group or terminal
	if err := cmd.Start(); err != nil {
		ordersIn.Close()
		reportsOut.Close()
		return nil, err
	}

	k := &Keeper{cmd: cmd, orders: ordersIn, reports: make(chan Report, 4), exited: make(chan struct{}), wake: make(chan struct{}, 1)}
	go func() {
		_ = cmd.Wait()
		close(k.exited)
	}()
	go k.listen(reportsOut)
	go k.deliver()
	k.Extend(end)
	return k, nil
}

// Reports returns the channel of news. It is closed when the keeper ends.
func (k *Keeper) Reports() <-chan Report { return k.reports }

func (k *Keeper) listen(from *os.File) {
	defer close(k.reports)
	defer from.Close()
	for s := bufio.NewScanner(from); s.Scan(); {
		word, rest, _ := strings.Cut(s.Text(), " ")
		first, more, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(first)
		switch word {
		case started:
			k.note(n, false)
			k.reports <- Report{Started: true}
		case failed:
			k.note(0, true)
			k.reports <- Report{Ended: true, Late: n == late, Code: n, Problem: more}
		case stopping:
			k.reports <- Report{Started: true, Stopping: first}
		case ended:
			k.note(0, true)
			k.reports <- Report{Ended: true, Started: true, Code: n}
		}
	}
}

func (k *Keeper) note(pid int, settled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settled = settled
	if pid != 0 {
		k.pid = pid
	}
}

// Extend tells a new end of the lease.
func (k *Keeper) Extend(end Instant) {
	k.order(func() { k.end = fmt.Sprintf("%s %v", lease, end) })
}

// Stop sends TERM, and KILL after grace.
func (k *Keeper) Stop() { k.order(func() { k.words = append(k.words, stop) }) }

// Kill sends KILL.
func (k *Keeper) Kill() { k.order(func() { k.words = append(k.words, kill) }) }

// order does not block: a keeper that is stopped reads nothing.
func (k *Keeper) order(add func()) {
	k.mu.Lock()
	add()
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // it will see this one, too
	}
}

// deliver writes the orders until the keeper has ended. An end of the lease that comes
// late is no later, since it is a point in time.
func (k *Keeper) deliver() {
	for {
		select {
		case <-k.wake:
		case <-k.exited:
			return
		}
		k.mu.Lock()
		lines := k.words
		if k.end != "" {
			lines = append([]string{k.end}, lines...)
		}
		k.end, k.words = "", nil
		k.mu.Unlock()
		if len(lines) > 0 {
			_, _ = k.orders.WriteString(strings.Join(lines, "\n") + "\n") // fails if the keeper has ended
		}
	}
}

// Finish returns when the keeper and all processes of the command are gone. It ends those
// that are left, if the keeper has not reported the end. The report says how the command
// ended.
func (k *Keeper) Finish(a *Adopter) Report {
	_ = k.cmd.Process.Kill() // it has no more to do, or does not do it
	<-k.exited
	k.orders.Close()
	for r := range k.reports { // its last words may still be on the way
		if r.Ended {
			return r
		}
	}
	k.mu.Lock()
	settled, pid := k.settled, k.pid
	k.mu.Unlock()
	if settled {
		return Report{Ended: true}
	}
	return Report{Ended: true, Started: true, Code: bury(&group{leader: leader{pid: pid}, not: a.not})}
}

// bury ends what a keeper has left behind that was killed, and returns the exit code.
func bury(g *group) int {
	if g.leader.pid == 0 { // if there is one, the keeper was killed before it could say which
		for len(g.rest()) > 0 {
			g.strays(syscall.SIGKILL)
			time.Sleep(chase)
		}
		return killed
	}
	for !g.gone() {
		g.kill()
		time.Sleep(chase)
	}
	return g.leader.reap()
}
