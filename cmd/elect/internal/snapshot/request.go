package snapshot

import (
	"context"
	"errors"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/queue"
)

// Request is an operator's request to a leader, as docs/outside.md describes it.
type Request struct {
	Path     string
	What     string // resign or hand-over
	To       string // the ID of the one that is to lead next, for hand-over
	Token    int64  // of the leader that is meant
	Answered bool   // by the leader
	Foreign  bool   // it is no request, but is where one would be
}

// request reads the request that is under way, if there is one that this client may read.
func (r Reader) request(ctx context.Context, path string) (*Request, error) {
	if path == "/" && r.Chroot == "" {
		return nil, nil // there is no place for it
	}
	at := path + ".request"
	if path == "/" {
		at = ".request" // beside the chroot
	}
	var data []byte
	var stat *zk.Stat
	err := r.Client.Do(ctx, func(c *zk.Conn) (err error) {
		data, stat, err = c.Get(r.Chroot + at)
		return err
	})
	switch {
	case errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrNoAuth):
		return nil, nil
	case err != nil:
		return nil, err
	}
	asked := queue.DecodeRequest(data)
	if asked == (queue.Request{}) || stat.EphemeralOwner == 0 {
		return &Request{Path: at, Foreign: true}, nil
	}
	return &Request{Path: at, What: asked.What, To: asked.To, Token: asked.Token, Answered: asked.Answer != ""}, nil
}
