package zktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strconv"
)

// portTries is how many free ports are tried: another process may take one
// between the moment it is found free and the moment the engine binds it.
const portTries = 10

// create makes the container, with its ports and files, but does not start it.
// join, when given, runs between, to attach it to further networks.
func create(ctx context.Context, set *settings, join func(id string) error) (*Server, error) {
	if err := errors.Join(set.slowDown(), set.prepareStall()); err != nil {
		return nil, err
	}
	e, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := choosePorts(set)
	if err != nil {
		return nil, err
	}
	s := &Server{engine: e, addr: hostPort(e.host, ports[clientPort])}
	if set.tls != nil {
		s.secureAddr = hostPort(e.host, ports[securePort])
	}
	s.container, err = e.create(ctx, set.blueprint(ports))
	if err != nil {
		return nil, err
	}
	if join == nil {
		return s, nil
	}
	if err := join(s.container); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *settings) blueprint(ports map[int]int) blueprint {
	b := blueprint{Version: s.version, Files: s.containerFiles(), Ports: ports, Env: map[string]string{
		"JDK_JAVA_OPTIONS": s.javaOptions(),
		"ZK_SERVER_HEAP":   "256", // the official image's start script sets a heap of its own, after ours
	}}
	maps.Copy(b.Env, s.env)
	return b
}

// containerFiles are zoo.cfg, the server's number and its first snapshot, and what options added.
func (s *settings) containerFiles() map[string][]byte {
	files := map[string][]byte{confDir + "/zoo.cfg": []byte(s.zooCfg())}
	if s.id > 0 {
		files[dataDir+"/myid"] = []byte(strconv.Itoa(s.id))
	}
	if s.counters != nil {
		files[snapshotPath] = snapshot(s.counters)
	}
	for name, text := range s.files {
		files[confDir+"/"+name] = []byte(text)
	}
	return files
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// choosePorts maps the ports inside to free ones outside.
func choosePorts(set *settings) (map[int]int, error) {
	inside := []int{clientPort}
	if set.tls != nil {
		inside = append(inside, securePort)
	}
	ports := map[int]int{}
	for _, p := range inside {
		free, err := freePort()
		if err != nil {
			return nil, err
		}
		ports[p] = free
	}
	return ports, nil
}

// freePort is one that was free a moment ago.
func freePort() (int, error) {
	l, err := listenFree()
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// listenFree listens on a port below those that the kernel hands out by itself (32768
// and up on Linux), so that no outgoing connection takes it while its server is
// down: the address must be the same after a restart.
func listenFree() (net.Listener, error) {
	var errs []error
	for range portTries {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("zktest: no free port: %w", errors.Join(errs...))
}
