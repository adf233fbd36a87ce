//go:build unix

package keeper

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Name is the argument that makes a process of this program a keeper.
const Name = "keep-for-run"

// The ends of the pipes in the keeper.
const (
	ordersFD  = 3
	reportsFD = 4
)

// What passes through the pipes, in lines.
const (
	lease    = "lease"    // to the keeper: the end of the lease, an Instant
	stop     = "stop"     // to the keeper: TERM, and KILL after grace
	kill     = "kill"     // to the keeper: KILL
	started  = "started"  // to the wrapper: the command runs, its process id
	failed   = "failed"   // to the wrapper: the command could not be started, the exit code and why
	stopping = "stopping" // to the wrapper: TERM was sent, and why: one of the reasons
	ended    = "ended"    // to the wrapper: all processes are gone, the exit code
)

// The reasons for which a command is stopped, beside an order.
const (
	ByOrder  = "asked"
	ByLease  = "lease"    // it was not renewed in time
	ByOrphan = "wrapper"  // the pipe is closed
	ByItself = "finished" // the command has ended, and has left processes behind
)

// Pauses between two looks at what no event announces.
const (
	tick    = 50 * time.Millisecond // at the clocks: one of them may have been set, or the machine may have slept
	chase   = 5 * time.Millisecond  // at the processes that are left when they are being killed
	slowest = time.Second           // the same, of those that cannot be killed
)

// Main is the whole life of a keeper. It returns its exit code.
func Main(args []string) int {
	runtime.LockOSThread() // see start
	syscall.CloseOnExec(ordersFD)
	syscall.CloseOnExec(reportsFD)
	k := &keeper{reports: os.NewFile(reportsFD, "reports")}
	flags := flag.NewFlagSet(Name, flag.ContinueOnError)
	flags.DurationVar(&k.grace, "grace", 0, "")
	flags.DurationVar(&k.early, "early", 0, "")
	flags.DurationVar(&k.margin, "margin", 0, "")
	if flags.Parse(args) != nil || flags.NArg() == 0 {
		return 2
	}

	signals, children := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	signal.Notify(children, syscall.SIGCHLD)
	orders := make(chan string)
	go read(os.NewFile(ordersFD, "orders"), orders)

	if !k.ready(orders) {
		return 2 // started by hand, or the wrapper is gone
	}
	if k.refused {
		k.report("%s %d the term has ended", failed, late)
		return 0
	}
	if err := adoptOrphans(); err != nil {
		k.report("%s %d %v", failed, 1, err)
		return 0
	}
	if code, err := k.start(flags.Args()); err != nil {
		k.report("%s %d %v", failed, code, err)
		return 0
	}
	k.report("%s %d", started, k.group.leader.pid)
	k.watch(orders, signals, children)
	k.report("%s %d", ended, k.group.leader.reap())
	return 0
}

// ready waits for a lease that lasts for some time, and returns false if nobody will tell
// one. The first that is told may have grown old while this process started.
func (k *keeper) ready(orders <-chan string) bool {
	for !k.refused && k.lease.left() <= k.early {
		line, alive := <-orders
		if !alive || !k.obey(line) {
			return false
		}
	}
	return true
}

// late is the exit code of a command that was not started because its term has ended.
const late = -1

// read passes on the lines of r until it ends.
func read(r io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		lines <- s.Text()
	}
}

type keeper struct {
	grace, early, margin time.Duration
	reports              io.Writer

	group    *group
	lease    Instant // its end
	refused  bool    // an order came before the command was started
	stopping bool    // TERM was sent
	until    Instant // when grace is over, if it was
	swept    bool    // the leader has ended, and TERM was sent to the members that have left the group
	killing  bool
	chase    time.Duration
}

// start starts the command. The codes are those of a shell.
func (k *keeper) start(argv []string) (code int, err error) {
	path, err := exec.LookPath(argv[0])
	if err == nil {
		k.group, err = start(argv, path)
	}
	switch {
	case err == nil:
		return 0, nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return 127, err
	}
	return 126, err
}

// watch returns when the command and all that it has started are gone.
func (k *keeper) watch(orders <-chan string, signals, children <-chan os.Signal) {
	timer := time.NewTimer(0)
	for !k.group.gone() {
		k.act()
		timer.Reset(k.pause())
		select {
		case line, alive := <-orders:
			if !alive || !k.obey(line) {
				orders = nil
				k.stop(ByOrphan)
			}
		case <-signals:
			k.stop(ByOrder)
		case <-children:
			k.group.rest()
		case <-timer.C:
		}
	}
}

// obey returns false for a line that it does not understand.
func (k *keeper) obey(line string) bool {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case lease:
		var i Instant
		if _, err := fmt.Sscan(rest, &i.steady, &i.wall); err != nil {
			return false
		}
		k.lease = i
	case stop:
		k.refused = k.group == nil
		k.stop(ByOrder)
	case kill:
		k.refused = k.group == nil
		k.killing = true
	default:
		return false
	}
	return true
}

// stop asks the command to end, once.
func (k *keeper) stop(why string) {
	if k.stopping || k.group == nil {
		return
	}
	k.stopping, k.until = true, in(k.grace)
	k.report("%s %s", stopping, why)
	k.group.ask()
}

// act does what is due by the clock.
func (k *keeper) act() {
	left, over := k.lease.left(), k.group.leader.over()
	switch {
	case k.killing || left <= k.margin || k.stopping && k.until.left() <= 0:
		k.killing = true
		k.group.kill()
	case over && !k.stopping:
		k.swept = true
		k.stop(ByItself)
	case over && !k.swept:
		k.swept = true
		k.group.ask()
	case left <= k.early:
		k.stop(ByLease)
	}
}

// pause returns the time until something may be due.
func (k *keeper) pause() time.Duration {
	if k.killing {
		k.chase = min(max(2*k.chase, chase), slowest)
		return k.chase
	}
	due := k.lease.left() - k.margin
	if k.stopping {
		due = min(due, k.until.left())
	} else {
		due = min(due, k.lease.left()-k.early)
	}
	return max(0, min(due, tick))
}

// report tells the wrapper, if it is still there.
func (k *keeper) report(format string, args ...any) {
	fmt.Fprintf(k.reports, format+"\n", args...)
}
