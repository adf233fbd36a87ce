package zktest

import (
	"maps"

	"github.com/zkelection/election/internal/jute"
)

// Count is a number of frames and their bytes, length prefixes included.
type Count struct{ Frames, Bytes int64 }

func (c Count) plus(bytes int) Count { return Count{c.Frames + 1, c.Bytes + int64(bytes)} }

// Stats is what a Proxy has delivered since it began, or since ResetStats. What
// it dropped is not in it.
type Stats struct {
	Connections   int64 // accepted
	ToServer      Count // everything
	ToClient      Count // everything
	Requests      map[jute.Op]Count
	Replies       map[jute.Op]Count // by the operation of the request
	Notifications Count
}

func newStats() Stats { return Stats{Requests: map[jute.Op]Count{}, Replies: map[jute.Op]Count{}} }

func (s Stats) clone() Stats {
	s.Requests, s.Replies = maps.Clone(s.Requests), maps.Clone(s.Replies)
	return s
}

// delivered counts f.
func (s *Stats) delivered(f Frame) {
	switch f.Kind {
	case Request:
		s.ToServer = s.ToServer.plus(f.Size)
		s.Requests[f.Op] = s.Requests[f.Op].plus(f.Size)
		return
	case Notification:
		s.Notifications = s.Notifications.plus(f.Size)
	case Reply:
		s.Replies[f.Op] = s.Replies[f.Op].plus(f.Size)
	}
	s.ToClient = s.ToClient.plus(f.Size)
}
