package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// create leaves starting to start, which does the same at every restart.
func (e *engine) create(ctx context.Context, req testcontainers.ContainerRequest) (string, error) {
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: req,
		Logger:           log.NewNoopLogger(),
	})
	if err != nil {
		return "", fmt.Errorf("zktest: create container: %w", err)
	}
	return c.GetContainerID(), nil
}

// requestFor describes the container. The files are copied in, since one of the
// images has no shell to write them with, and an engine may run elsewhere.
func requestFor(image string, p blueprint) testcontainers.ContainerRequest {
	req := testcontainers.ContainerRequest{
		Image:              image,
		Labels:             ownerLabels(),
		Env:                p.Env,
		HostConfigModifier: func(h *container.HostConfig) { h.PortBindings = bindings(p.Ports) },
	}
	for path, text := range p.Files {
		req.Files = append(req.Files, testcontainers.ContainerFile{
			Reader: bytes.NewReader(text), ContainerFilePath: path, FileMode: 0o644,
		})
	}
	for inside := range p.Ports {
		req.ExposedPorts = append(req.ExposedPorts, strconv.Itoa(inside)+"/tcp")
	}
	return req
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
