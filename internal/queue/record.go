package queue

import (
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/reign"
	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Record is the record of the last reign, as read.
type Record struct {
	reign.Record
	Version int32
	Watch   <-chan zk.Event // nil if none was asked for
}

// Records reads and writes the record of one election: the data of its path.
type Records struct {
	Session *session.Session
	Path    string // chroot included
}

// Records returns the Records of this entry's election.
func (e *Entry) Records() Records { return Records{e.Session, e.Path} }

// Read reads the record of the last reign. With watch, it also leaves a watch on the record.
func (rs Records) Read(watch bool) (r Record, err error) {
	var data []byte
	var stat *zk.Stat
	_, err = rs.Session.Read(func(c *zk.Conn) (err error) {
		if watch {
			data, stat, r.Watch, err = c.GetW(rs.Path)
		} else {
			data, stat, err = c.Get(rs.Path)
		}
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("read the record of the last reign at %s: %w", znode.Brief(rs.Path), err)
	}
	r.Record, r.Version = reign.Decode(data), stat.Version
	return r, nil
}

// Begin writes r, the reign of znode own, into the record. The record must have this version
// and the znode must exist. Otherwise Begin writes nothing and returns an error that wraps
// zk.ErrBadVersion or zk.ErrNoNode.
func (rs Records) Begin(own string, r reign.Record, version int32) error {
	err := multi(rs.Session, &zk.CheckVersionRequest{Path: znode.Join(rs.Path, own), Version: -1}, rs.write(r, version))
	if err != nil {
		return fmt.Errorf("begin a reign at %s: %w", znode.Brief(rs.Path), err)
	}
	return nil
}

// Leave deletes znode own and writes into the record that its reign r is over. The record
// must have this version. The next in line watches both, and is notified in the order of
// the operations. The delete comes first, because it makes the next in line begin.
func (rs Records) Leave(own string, r reign.Record, version int32) error {
	r.Left = true
	err := multi(rs.Session, &zk.DeleteRequest{Path: znode.Join(rs.Path, own), Version: -1}, rs.write(r, version))
	if err != nil {
		return fmt.Errorf("end the reign at %s: %w", znode.Brief(rs.Path), err)
	}
	return nil
}

func (rs Records) write(r reign.Record, version int32) *zk.SetDataRequest {
	return &zk.SetDataRequest{Path: rs.Path, Data: r.Encode(), Version: version}
}

// leftFor returns the operation that an eviction adds to its transaction. It writes into the
// record that the reign with this token is over. It is nil if the record does not name that
// reign.
func (rs Records) leftFor(token int64) (*zk.SetDataRequest, error) {
	r, err := rs.Read(false)
	if err != nil || r.Reign != token || r.Left {
		return nil, err
	}
	r.Left = true
	return rs.write(r.Record, r.Version), nil
}

// multi sends a transaction.
func multi(s *session.Session, ops ...any) error {
	_, err := s.Write(func(c *zk.Conn) error {
		_, err := c.Multi(ops...)
		return err
	})
	return err
}
