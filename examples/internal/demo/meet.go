package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// An example that runs in several terminals needs a ZooKeeper that they share, and that outlives each of them. Where
// the environment names none, the first to come starts a host: a process that runs one, tells its address to
// whoever connects to it, and ends when the last connection has. The kernel closes those of a process however
// it ended, so nothing is left running, and nothing has to be cleaned up.
const (
	hostEnv = "ELECTION_EXAMPLES_HOST" // set in the host's environment
	// MeetEnv names another address for the host than defaultMeet.
	MeetEnv     = "ELECTION_EXAMPLES_MEET"
	defaultMeet = "127.0.0.1:21810"

	linger   = 3 * time.Second // the host waits that long for the next to come
	greeting = "zookeeper for the examples: "
	redial   = 50 * time.Millisecond
	rehost   = 10 * time.Second // a host that has not begun to listen by then is taken for dead
	patience = 10 * time.Second // and one that listens, and says nothing for that long, for something else
	maxHosts = 3                // then something else must be in their way
)

func meetingPoint() string {
	if addr := os.Getenv(MeetEnv); addr != "" {
		return addr
	}
	return defaultMeet
}

// meet returns the address of the shared ZooKeeper, and keeps it running until this process ends.
func meet(ctx context.Context) (connect string, err error) {
	hosts, latest := 0, time.Time{}
	for ctx.Err() == nil {
		connect, err = ask(ctx, patience)
		if err == nil || !errors.Is(err, errNobody) {
			return connect, err
		}
		if time.Since(latest) > rehost {
			if hosts++; hosts > maxHosts {
				return "", fmt.Errorf("no ZooKeeper can be shared at %s: set %s, or %s to a free address", meetingPoint(), Env, MeetEnv)
			}
			latest = time.Now()
			if err := startHost(); err != nil {
				return "", err
			}
		}
		select {
		case <-time.After(redial):
		case <-ctx.Done():
		}
	}
	return "", ctx.Err()
}

var errNobody = errors.New("nobody hosts a ZooKeeper")

// ask connects to the host and stays connected. What listens there and does not speak within limit is none.
func ask(ctx context.Context, limit time.Duration) (connect string, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", meetingPoint())
	if err != nil {
		return "", errNobody
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	answer, err := listen(conn, limit)
	if !stop() || err != nil {
		conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("what listens at %s is no ZooKeeper of the examples: set %s, or %s to a free address",
				meetingPoint(), Env, MeetEnv)
		}
		return "", errNobody // it was about to end: the next one will do
	}
	go io.Copy(io.Discard, conn) // keeps the connection in use as long as this process lives
	connect, ok := strings.CutPrefix(answer, greeting)
	if !ok {
		return "", fmt.Errorf("the examples' ZooKeeper at %s: %s", meetingPoint(), answer)
	}
	fmt.Printf("ZooKeeper is %s, shared by the examples on this machine while one of them runs\n", connect)
	return connect, nil
}

// listen returns what is said first, which comes when ZooKeeper serves.
func listen(conn net.Conn, limit time.Duration) (answer string, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	answer, err = bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

func startHost() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), hostEnv+"=yes")
	cmd.SysProcAttr = ownSession()
	return cmd.Start() // not waited for: it outlives this process
}

// host runs the shared ZooKeeper. What goes wrong is told to whoever connects: nobody reads this process's output.
func host(ctx context.Context) error {
	// Meant for the terminal that happened to come first, where they reach this process: see ownSession.
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	listener, err := net.Listen("tcp", meetingPoint())
	if err != nil {
		return err // another was quicker
	}
	defer listener.Close()
	connect, stop, err := embedded(1)
	if err != nil {
		return refuse(listener, err)
	}
	serve(ctx, listener, greeting+connect)
	stop() // before the listener closes: when nobody answers there any more, nothing is left
	return nil
}

// refuse tells those who wait what went wrong, until nobody has come for a while.
func refuse(listener net.Listener, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), linger)
	defer cancel()
	serve(ctx, listener, strings.Join(strings.Fields(err.Error()), " "))
	return err
}

// serve answers everybody who connects, and returns when nobody has been connected for a while, or ctx ends.
func serve(ctx context.Context, listener net.Listener, answer string) {
	came, left := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go accept(ctx, listener, answer, came, left)
	idle := time.NewTimer(linger)
	for guests := 0; ; {
		select {
		case <-came:
			guests++
			idle.Stop()
		case <-left:
			if guests--; guests == 0 {
				idle.Reset(linger)
			}
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func accept(ctx context.Context, listener net.Listener, answer string, came, left chan<- struct{}) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if !tell(ctx, came) {
				return
			}
			fmt.Fprintln(conn, answer)
			io.Copy(io.Discard, conn) // until the guest's process ends
			tell(ctx, left)
		}()
	}
}

func tell(ctx context.Context, ch chan<- struct{}) bool {
	select {
	case ch <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
