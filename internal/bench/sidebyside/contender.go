package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	_ "embed"

	"github.com/zkelection/election/internal/interop"
)

// contender is one of those that are measured.
type contender struct {
	Key   string
	Label string // in tables and drawings
	etcd  bool   // it uses etcd and not ZooKeeper
	asks  bool   // its user can ask whether it leads
	name  func() string
}

// contenders are all of them, in the order of tables and drawings. bare is the first.
var contenders = []contender{
	{Key: "bare", Label: "bare ZooKeeper"},
	{Key: "lock", Label: "zk.Lock", name: func() string { return "_c_" + hex() + "-lock-" }},
	{Key: "latch", Label: "Curator LeaderLatch", asks: true, name: func() string { return "_c_" + uuid() + "-latch-" }},
	{Key: "kazoo", Label: "Kazoo Lock", name: func() string { return hex() + "__lock__" }},
	{Key: "etcd", Label: "etcd Election", etcd: true},
	{Key: "ours", Label: "this library", asks: true, name: func() string { return "_c_" + uuid() + "-latch-" }},
	{Key: "fast", Label: "this library, fast failover 1 s", asks: true, name: func() string { return "_c_" + uuid() + "-latch-" }},
}

// elections returns the contenders without bare, which is no election.
func elections() []contender { return contenders[1:] }

// lookUp returns the contender with a key.
func lookUp(key string) contender {
	i := slices.IndexFunc(contenders, func(c contender) bool { return c.Key == key })
	return contenders[i]
}

func hex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x", b)
}

func uuid() string {
	h := hex()
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

//go:embed peers/Peer.java
var javaSource []byte

//go:embed peers/peer.py
var pythonSource []byte

// programs is a folder with the programs of the contenders that are not in Go.
type programs string

// makePrograms compiles the Java program.
func makePrograms(dir string) (programs, error) {
	if err := interop.Require(); err != nil {
		return "", fmt.Errorf("%w\n(.ci/packages lists all packages, .ci/install-packages installs them)", err)
	}
	java := filepath.Join(dir, "Peer.java")
	if err := os.WriteFile(java, javaSource, 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "peer.py"), pythonSource, 0o600); err != nil {
		return "", err
	}
	return programs(dir), interop.Compile(dir, java)
}

// command returns the command that runs a peer.
func (p programs) command(s peerSetup) (*exec.Cmd, error) {
	millis := strconv.FormatInt(s.Timeout.Milliseconds(), 10)
	switch s.Contender {
	case "latch":
		cmd := interop.Java(string(p), "Peer", s.Server, millis)
		cmd.Args = slices.DeleteFunc(cmd.Args, func(arg string) bool { return arg == "-XX:TieredStopAtLevel=1" }) // both compilers
		return cmd, nil
	case "kazoo":
		return exec.Command("/usr/bin/python3", filepath.Join(string(p), "peer.py"), s.Server, millis), nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), peerEnv+"="+string(text))
	return cmd, err
}
