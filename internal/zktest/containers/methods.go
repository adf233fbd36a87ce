package main

import (
	"context"
	"net/netip"
)

// methods are the requests that package zktest sends. Their parameters and results are declared in its engine.go as
// well, since neither module imports the other.
var methods = map[string]method{
	"hello":   with(hello),
	"create":  with(create),
	"start":   with(on((*engine).start)),
	"stop":    with(on((*engine).stop)),
	"kill":    with(on((*engine).kill)),
	"pause":   with(on((*engine).pause)),
	"unpause": with(on((*engine).unpause)),
	"signal":  with(sendSignal),
	"remove":  with(on((*engine).remove)),
	"running": with(running),
	"logs":    with(logs),
	"network": with(makeNetwork),
	"join":    with(join),
	"cut":     with(cut),
	"unmake":  with(removeNetwork),
}

// target names the container of a request.
type target struct {
	Container string `json:"container"` // its ID
}

// on makes a method's function from a method of the engine that takes a container's ID.
func on(do func(*engine, context.Context, string) error) func(context.Context, target) (any, error) {
	return func(ctx context.Context, p target) (any, error) {
		e, err := connect()
		if err != nil {
			return nil, err
		}
		return nil, do(e, ctx, p.Container)
	}
}

// hello finds the engine. Its result is the host on which published ports are reached.
func hello(context.Context, struct{}) (any, error) {
	if _, err := connect(); err != nil {
		return nil, err
	}
	return struct {
		Host string `json:"host"`
	}{host()}, nil
}

// blueprint is what a container is made of.
type blueprint struct {
	Version string            `json:"version"` // of ZooKeeper; empty: the default
	Env     map[string]string `json:"env"`
	Files   map[string][]byte `json:"files"` // by path in the container
	Ports   map[int]int       `json:"ports"` // from the port in the container to the port outside
}

// create makes a container, with its ports and files, but does not start it.
func create(ctx context.Context, p blueprint) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	image, err := e.ensureImage(ctx, p.Version)
	if err != nil {
		return nil, err
	}
	id, err := e.create(ctx, requestFor(image, p))
	return target{id}, err
}

func sendSignal(ctx context.Context, p struct {
	Container string `json:"container"`
	Signal    string `json:"signal"` // such as SIGHUP
}) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return nil, e.signal(ctx, p.Container, p.Signal)
}

func running(ctx context.Context, p target) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return struct {
		Running bool `json:"running"`
	}{e.running(ctx, p.Container)}, nil
}

func logs(ctx context.Context, p target) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return struct {
		Text string `json:"text"`
	}{e.logs(ctx, p.Container)}, nil
}

// makeNetwork makes the network of an ensemble's peers, with a prefix of that many bits. 28 bits leave 16 addresses.
func makeNetwork(ctx context.Context, p struct {
	Bits int `json:"bits"`
}) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	id, subnet, err := e.makeNetwork(ctx, p.Bits)
	return struct {
		Network string       `json:"network"` // its ID
		Subnet  netip.Prefix `json:"subnet"`
	}{id, subnet}, err
}

// member is a container on a network.
type member struct {
	Network   string     `json:"network"`
	Container string     `json:"container"`
	Address   netip.Addr `json:"address"`
}

func join(ctx context.Context, p member) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return nil, e.join(ctx, p)
}

func cut(ctx context.Context, p member) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return nil, e.cut(ctx, p)
}

func removeNetwork(ctx context.Context, p struct {
	Network string `json:"network"`
}) (any, error) {
	e, err := connect()
	if err != nil {
		return nil, err
	}
	return nil, e.removeNetwork(ctx, p.Network)
}
