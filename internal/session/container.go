package session

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// CreateContainer creates a container. The driver has a data race if it is closed during
// this request: it reads the path that the server answers without looking at the error
// (conn.go, CreateContainer). So [Session.Close] first waits for the answer.
func CreateContainer(s *Session, path string, acl []zk.ACL) error {
	s.mu.Lock()
	if s.Closed() {
		s.mu.Unlock()
		return Translate(zk.ErrConnectionClosed)
	}
	s.containers.Add(1)
	s.mu.Unlock()

	defer s.containers.Done()
	_, err := s.conn.CreateContainer(path, nil, zk.FlagContainer, acl)
	return Translate(err)
}

// awaitContainers waits until all requests for a container have returned, up to limit.
func awaitContainers(s *Session, limit time.Duration) {
	returned := make(chan struct{})
	s.loops.Go(func() {
		s.containers.Wait()
		close(returned)
	})
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-returned:
	case <-late.C:
	}
}
