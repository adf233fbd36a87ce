package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// What a Request may ask for.
const (
	AskResign   = "resign"
	AskHandOver = "hand-over"
)

// Taken is the leader's answer to a request that it carries out. Any other answer says why
// it does not.
const Taken = "taken"

// Request is what an operator asks of a leader: the data of an ephemeral znode beside the
// election path, so that the line holds candidates alone. It is the operator's, and goes
// with the session. The leader writes its answer there.
type Request struct {
	By     string // tells it from all other requests
	What   string // AskResign or AskHandOver
	Token  int64  // of the leader that is meant; to any other the request is void
	To     string // the ID of the one that is to lead next, for AskHandOver
	Answer string // empty until the leader answers
}

// asked is a Request as it is stored. A token is a hexadecimal string, since a number in
// JSON loses digits above 2^53.
type asked struct {
	By     string `json:"by,omitempty"`
	What   string `json:"what"`
	Token  string `json:"token"`
	To     string `json:"to,omitempty"`
	Answer string `json:"answer,omitempty"`
}

func (r Request) encode() []byte {
	text, err := json.Marshal(asked{r.By, r.What, fmt.Sprintf("%#x", uint64(r.Token)), r.To, r.Answer})
	if err != nil {
		panic(err) // a struct of strings
	}
	return text
}

// maxRequest is the size of the largest request that is made. A transaction holds it twice
// (see Make), and a server ends the connection at one of 1 MiB.
const maxRequest = 64 << 10

// TooLong reports whether the request is too long to be made: the ID that it names is.
func (r Request) TooLong() bool { return len(r.encode()) > maxRequest }

// DecodeRequest reads the data of a request. One that cannot be read is meant for nobody. Nor is one
// that is much longer than any that is made: with it, the leader's answer could be too long
// for the leader's connection.
func DecodeRequest(data []byte) Request {
	var a asked
	if len(data) > 2*maxRequest || json.Unmarshal(data, &a) != nil {
		return Request{}
	}
	token, err := strconv.ParseUint(a.Token, 0, 64)
	if err != nil {
		return Request{}
	}
	return Request{a.By, a.What, int64(token), a.To, a.Answer}
}

// Requests is the place of the requests to the leader of one election. There is one
// request at a time.
type Requests struct {
	session *session.Session
	path    string
}

// RequestsAt returns the place of the requests for the election at path, chroot included.
func RequestsAt(s *session.Session, path string) Requests { return Requests{s, path + ".request"} }

// Found is what Look has found, and a watch that fires when that changes.
type Found struct {
	Request       // zero if there is none
	Version int32 // of its znode
	Owner   int64 // the session of its operator
	Made    int64 // the creation zxid of its znode: no other request has the same
	Watch   <-chan zk.Event
}

// Look looks for a request and leaves a watch. If there is none, that is one request.
func (rs Requests) Look() (f Found, err error) {
	_, err = rs.session.Read(func(c *zk.Conn) error {
		for {
			found, _, watch, err := c.ExistsW(rs.path)
			if err != nil || !found {
				f = Found{Watch: watch}
				return err
			}
			data, stat, err := c.Get(rs.path) // the watch is on its data, too
			if err == nil {
				f = Found{DecodeRequest(data), stat.Version, stat.EphemeralOwner, stat.Czxid, watch}
			}
			if !errors.Is(err, zk.ErrNoNode) {
				return err
			}
		}
	})
	if err != nil {
		return Found{}, fmt.Errorf("look for a request at %s: %w", znode.Brief(rs.path), err)
	}
	return f, nil
}

// Answer writes the leader's answer to a request, unless the request has been changed or
// withdrawn since it was found. If another operator has made one with the same version
// meanwhile, that one is overwritten: it is made void, so that its operator can remove it.
func (rs Requests) Answer(f Found, answer string) error {
	f.Request.Answer = answer
	_, err := rs.session.Write(func(c *zk.Conn) error {
		stat, err := c.Set(rs.path, f.encode(), f.Version)
		if err != nil || stat.Czxid == f.Made {
			return err
		}
		if _, err := c.Set(rs.path, nil, stat.Version); err != nil {
			return err
		}
		return zk.ErrNoNode // the request that was found
	})
	if err != nil {
		return fmt.Errorf("answer the request at %s: %w", znode.Brief(rs.path), err)
	}
	return nil
}

// Make makes a request. It returns zk.ErrNodeExists if there is one already. Anybody may
// read it and answer: who asks and who leads may have different credentials.
//
// The transaction also deletes what it creates, and creates it again. So whoever has no
// permission to remove the request does not make it.
func (rs Requests) Make(r Request) error {
	create := &zk.CreateRequest{Path: rs.path, Data: r.encode(), Flags: zk.FlagEphemeral, Acl: zk.WorldACL(zk.PermRead | zk.PermWrite)}
	if err := multi(rs.session, create, &zk.DeleteRequest{Path: rs.path, Version: -1}, create); err != nil {
		return fmt.Errorf("create %s, and try to delete it again%s: %w", znode.Brief(rs.path),
			needs(err, "CREATE and DELETE", path.Dir(rs.path)), err)
	}
	return nil
}

// needs says which permission is missing, if that is what err says.
func needs(err error, permission, path string) string {
	if !errors.Is(err, zk.ErrNoAuth) {
		return ""
	}
	return fmt.Sprintf(", which needs %s on %s", permission, znode.Brief(path))
}

// Whose says in words what is in the way of a request.
func (rs Requests) Whose() (text string, request bool, err error) {
	_, err = rs.session.Read(func(c *zk.Conn) error {
		found, stat, err := c.Exists(rs.path)
		switch {
		case err != nil:
		case !found:
			text, request = "it has ended just now", true
		case stat.EphemeralOwner == 0:
			text = fmt.Sprintf("%s is in the way: it is no request, but a znode that stays until somebody deletes it", znode.Brief(rs.path))
		default:
			text, request = fmt.Sprintf("%s of session %#x", znode.Brief(rs.path), stat.EphemeralOwner), true
		}
		return err
	})
	return text, request, err
}

// ErrAnswered says that the leader has answered a request.
var ErrAnswered = errors.New("the request has been answered")

// Remove removes a request, and returns nil if it is gone. If it is to be removed only
// unanswered and has been answered, Remove returns ErrAnswered. The leader carries out only
// what it could answer, so a request that was removed unanswered never is.
//
// If no answer came to Make, its create may still be on its way. A write that changes
// nothing comes behind it, so the reading after that shows it: see [Entry.find].
func (rs Requests) Remove(by string, unanswered bool) error {
	if err := multi(rs.session, &zk.CheckVersionRequest{Path: rs.path, Version: -1}); !session.Processed(err) {
		return err
	}
	for {
		var data []byte
		var stat *zk.Stat
		reply, err := rs.session.Read(func(c *zk.Conn) (err error) {
			data, stat, err = c.Get(rs.path)
			return err
		})
		switch {
		case errors.Is(err, zk.ErrNoNode):
			return nil
		case err != nil:
			return err
		}
		found := DecodeRequest(data)
		spoilt := found.By == "" && stat.EphemeralOwner == reply.Session // anybody may write there
		switch {
		case found.By != by && !spoilt:
			return nil
		case unanswered && found.Answer != "":
			return ErrAnswered
		}

		_, err = rs.session.Write(func(c *zk.Conn) error { return c.Delete(rs.path, stat.Version) })
		if err == nil || !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
			return err
		}
	}
}
