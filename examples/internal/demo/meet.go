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

// An example that runs in several terminals needs a ZooKeeper that all of them share, and
// that outlives each of them. If the environment names none, the first process starts a
// host. The host is a process that runs a ZooKeeper, tells its address to every process
// that connects, and ends when the last connection has ended. The kernel closes the
// connections of a process whichever way it ends. So nothing is left running, and nothing
// has to be cleaned up.
const (
	hostEnv = "ELECTION_EXAMPLES_HOST" // set in the host's environment
	// MeetEnv is the name of the environment variable that replaces defaultMeet, the
	// address of the host.
	MeetEnv     = "ELECTION_EXAMPLES_MEET"
	defaultMeet = "127.0.0.1:21810"

	linger   = 3 * time.Second // how long the host waits for another connection when it has none
	greeting = "zookeeper for the examples: "
	redial   = 50 * time.Millisecond
	rehost   = 10 * time.Second // a host that does not listen after this time is considered dead
	patience = 10 * time.Second // something that listens and says nothing for this long is not a host
	maxHosts = 3                // after so many hosts, something else must use the address
)

func meetingPoint() string {
	if addr := os.Getenv(MeetEnv); addr != "" {
		return addr
	}
	return defaultMeet
}

// meet returns the connect string of the shared ZooKeeper, and keeps it running until
// this process ends.
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

// ask connects to the host and stays connected. If the address says nothing within limit,
// it is not a host.
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
		return "", errNobody // it was about to end: start another one
	}
	go io.Copy(io.Discard, conn) // keeps the connection in use as long as this process lives
	connect, ok := strings.CutPrefix(answer, greeting)
	if !ok {
		return "", fmt.Errorf("the examples' ZooKeeper at %s: %s", meetingPoint(), answer)
	}
	fmt.Printf("ZooKeeper is %s, shared by the examples on this machine while one of them runs\n", connect)
	return connect, nil
}

// listen returns the first line of the host, which comes when its ZooKeeper serves.
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

// host runs the shared ZooKeeper. Nobody reads this process's output, so it tells its
// errors to the processes that connect.
func host(ctx context.Context) error {
	// These signals are meant for the terminal that happened to start this process. See
	// ownSession.
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	listener, err := net.Listen("tcp", meetingPoint())
	if err != nil {
		return err // another host was quicker
	}
	defer listener.Close()
	connect, stop, err := embedded(1)
	if err != nil {
		return refuse(listener, err)
	}
	serve(ctx, listener, greeting+connect)
	stop() // before the listener closes, so that nothing is left when the address is free again
	return nil
}

// refuse tells the processes that connect what went wrong. It returns when none has
// connected for a while.
func refuse(listener net.Listener, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), linger)
	defer cancel()
	serve(ctx, listener, strings.Join(strings.Fields(err.Error()), " "))
	return err
}

// serve answers every connection. It returns when none has been open for a while, or when
// ctx ends.
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
