package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/text"
	"github.com/zkelection/election/internal/znode"
)

// Connect checks the paths of a command and connects to ZooKeeper. Close the client.
func Connect(env *cli.Env, paths ...string) (*election.Client, Reader, error) {
	return reach(env, env.Connect, paths)
}

// Open is Connect for a command that does not wait for ZooKeeper.
func Open(env *cli.Env, paths ...string) (*election.Client, Reader, error) {
	return reach(env, env.Open, paths)
}

func reach(env *cli.Env, open func() (*election.Client, error), paths []string) (*election.Client, Reader, error) {
	for _, path := range paths {
		if err := znode.CheckPath(path); err != nil {
			return nil, Reader{}, cli.Usagef("the path %.200q %v", path, err)
		}
	}
	client, err := open()
	if err != nil {
		return nil, Reader{}, err
	}
	return client, Reader{Client: client, Chroot: chroot(env.Flags.ZK)}, nil
}

// chroot returns the chroot of a connect string that [election.Connect] has accepted.
func chroot(connectString string) string {
	if i := strings.IndexByte(connectString, '/'); i >= 0 {
		return strings.TrimSuffix(connectString[i:], "/")
	}
	return ""
}

// Nobody is the error of a command that needs somebody to take part at the election's path.
// ZooKeeper removes the path of an election in which nobody takes part, so a path that is
// missing may be right all the same.
func (r Reader) Nobody(path string, missing bool) error {
	at := text.Plain(path)
	if r.Chroot != "" {
		at += fmt.Sprintf(" (below the chroot %s)", text.Plain(r.Chroot))
	}
	e := &cli.Error{Code: cli.Nobody, What: "nobody takes part at " + at, Do: "start a candidate there"}
	if missing {
		e.What += ", and there is no such path"
		e.Do = "check it with elect list /, or start a candidate there"
	}
	return e
}

// Bound returns the context for requests that are answered at once: it ends after --timeout.
func Bound(env *cli.Env) (context.Context, context.CancelFunc) {
	return context.WithTimeout(env.Context, env.Flags.Timeout)
}

// Late turns the error of a context from [Bound] that has ended into one that says so.
func Late(env *cli.Env, err error) error {
	if err == nil || env.Context.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &cli.Error{Code: cli.Unavailable, What: fmt.Sprintf("ZooKeeper at %s has not answered all within %v", env.Flags.ZK, env.Flags.Timeout),
		Do: "check that the servers run, or raise --timeout"}
}
