package zktest

import (
	"context"
	"net/netip"
)

// engine is the Docker engine. This package asks the program in the folder
// containers (see process), and the program asks the engine. The parameters and
// results below are declared in containers/methods.go as well, since neither
// module imports the other.
type engine struct {
	process *process
	host    string // where published ports are reached
}

// connect starts the program if it does not run yet, and waits until the program has found the engine.
func connect(ctx context.Context) (*engine, error) {
	p, err := theProcess()
	if err != nil {
		return nil, err
	}
	e := &engine{process: p}
	var greeting struct {
		Host string `json:"host"`
	}
	err = p.call(ctx, "hello", nil, &greeting)
	e.host = greeting.Host
	return e, err
}

// blueprint is what a container is made of.
type blueprint struct {
	Version string            `json:"version"` // of ZooKeeper; empty: the default
	Env     map[string]string `json:"env"`
	Files   map[string][]byte `json:"files"` // by path in the container
	Ports   map[int]int       `json:"ports"` // from the port in the container to the port outside
}

// target is one container, by its ID.
type target struct {
	Container string `json:"container"`
}

// create makes a container but does not start it. It pulls or makes the image first if the engine has none.
func (e *engine) create(ctx context.Context, b blueprint) (id string, err error) {
	var made target
	err = e.process.call(ctx, "create", b, &made)
	return made.Container, err
}

func (e *engine) start(ctx context.Context, id string) error { return e.do(ctx, "start", id) }

// stop lets a paused server go on first: a frozen process takes no signal.
func (e *engine) stop(ctx context.Context, id string) error { return e.do(ctx, "stop", id) }

// kill waits for the end, and accepts a server that is down already.
func (e *engine) kill(ctx context.Context, id string) error { return e.do(ctx, "kill", id) }

func (e *engine) pause(ctx context.Context, id string) error   { return e.do(ctx, "pause", id) }
func (e *engine) unpause(ctx context.Context, id string) error { return e.do(ctx, "unpause", id) }
func (e *engine) remove(ctx context.Context, id string) error  { return e.do(ctx, "remove", id) }

// signal sends one, such as "SIGHUP", to the server's process.
func (e *engine) signal(ctx context.Context, id, name string) error {
	return e.process.call(ctx, "signal", map[string]string{"container": id, "signal": name}, nil)
}

func (e *engine) do(ctx context.Context, method, id string) error {
	return e.process.call(ctx, method, target{id}, nil)
}

// running is true while in doubt, so that a busy engine is not taken for a dead server.
func (e *engine) running(ctx context.Context, id string) bool {
	var is struct {
		Running bool `json:"running"`
	}
	err := e.process.call(ctx, "running", target{id}, &is)
	return err != nil || is.Running
}

// logs returns the last lines, or the reason why there are none.
func (e *engine) logs(ctx context.Context, id string) string {
	var end struct {
		Text string `json:"text"`
	}
	if err := e.process.call(ctx, "logs", target{id}, &end); err != nil {
		return err.Error()
	}
	return end.Text
}

// peers is the network on which the servers of an ensemble meet.
type peers struct {
	Network string       `json:"network"` // its ID
	Subnet  netip.Prefix `json:"subnet"`
}

// makeNetwork makes a network with a prefix of that many bits. 28 bits leave 16 addresses.
func (e *engine) makeNetwork(ctx context.Context, bits int) (made peers, err error) {
	err = e.process.call(ctx, "network", map[string]int{"bits": bits}, &made)
	return made, err
}

func (e *engine) removeNetwork(ctx context.Context, id string) error {
	return e.process.call(ctx, "unmake", map[string]string{"network": id}, nil)
}

// member is a container on a network.
type member struct {
	Network   string     `json:"network"`
	Container string     `json:"container"`
	Address   netip.Addr `json:"address"`
}

// join gives a container an address on a network, and cut takes the container off it.
func (e *engine) join(ctx context.Context, m member) error {
	return e.process.call(ctx, "join", m, nil)
}
func (e *engine) cut(ctx context.Context, m member) error { return e.process.call(ctx, "cut", m, nil) }
