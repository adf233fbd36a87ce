package zktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// portTries is how many free ports are tried: another process may take one
// between the moment it is found free and the moment the engine binds it.
const portTries = 10

// create makes the container, with its ports and files, but does not start it.
// join, when given, runs between, to attach it to further networks.
func create(ctx context.Context, set *settings, join func(id string) error) (*Server, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	image, err := e.ensureImage(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := choosePorts(set)
	if err != nil {
		return nil, err
	}
	s := &Server{engine: e, addr: hostPort(ports[clientPort])}
	if set.tls != nil {
		s.secureAddr = hostPort(ports[securePort])
	}
	s.container, err = e.create(ctx, request(image, set, ports))
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

// create leaves starting to begin, which does the same at every restart.
func (e *engine) create(ctx context.Context, req testcontainers.ContainerRequest) (string, error) {
	defer e.done()
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: req,
		Logger:           log.NewNoopLogger(),
	})
	if err != nil {
		return "", fmt.Errorf("zktest: create container: %w", err)
	}
	return c.GetContainerID(), nil
}

// request describes the container. The files are copied in, since one of the
// images has no shell to write them with, and an engine may run elsewhere.
func request(image string, set *settings, ports map[int]int) testcontainers.ContainerRequest {
	req := testcontainers.ContainerRequest{
		Image:  image,
		Labels: ownerLabels(),
		Env: map[string]string{
			"JDK_JAVA_OPTIONS": set.javaOptions(),
			"ZK_SERVER_HEAP":   "256", // the official image's start script sets a heap of its own, after ours
		},
		Files:              set.containerFiles(),
		HostConfigModifier: func(h *container.HostConfig) { h.PortBindings = bindings(ports) },
	}
	for inside := range ports {
		req.ExposedPorts = append(req.ExposedPorts, strconv.Itoa(inside)+"/tcp")
	}
	return req
}

// containerFiles are zoo.cfg, the server's number and its first snapshot, and what options added.
func (s *settings) containerFiles() []testcontainers.ContainerFile {
	files := []testcontainers.ContainerFile{containerFile(confDir+"/zoo.cfg", s.zooCfg())}
	if s.id > 0 {
		files = append(files, containerFile(dataDir+"/myid", strconv.Itoa(s.id)))
	}
	if s.counters != nil {
		files = append(files, containerFile(snapshotPath, string(snapshot(s.counters))))
	}
	for name, text := range s.files {
		files = append(files, containerFile(confDir+"/"+name, text))
	}
	return files
}

func containerFile(path, text string) testcontainers.ContainerFile {
	return testcontainers.ContainerFile{Reader: strings.NewReader(text), ContainerFilePath: path, FileMode: 0o644}
}

// bindings publishes each port on the loopback interface, unless the engine is elsewhere.
func bindings(ports map[int]int) network.PortMap {
	ip := netip.IPv4Unspecified()
	if addr, err := netip.ParseAddr(host()); err == nil && addr.IsLoopback() {
		ip = addr
	}
	m := network.PortMap{}
	for inside, outside := range ports {
		p := network.MustParsePort(strconv.Itoa(inside) + "/tcp")
		m[p] = []network.PortBinding{{HostIP: ip, HostPort: strconv.Itoa(outside)}}
	}
	return m
}

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
