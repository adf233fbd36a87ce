package election

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/zkelection/election/internal/znode"
)

// ClientStatus is a snapshot of a client, fit for a health endpoint. Its JSON and its String
// leave the session's id out.
type ClientStatus struct {
	Connected bool          `json:"connected"`         // to a server, with a session
	Closed    bool          `json:"closed,omitempty"`  // by Client.Close
	Since     time.Time     `json:"since,omitzero"`    // when the present session or the present outage began, or the client was made or closed
	Server    string        `json:"server,omitempty"`  // host:port of the server that the client is connected to; empty while there is none
	SessionID int64         `json:"-"`                 // 0 while there is no session; left out of the JSON and of String, since it can be used to end the session
	Timeout   time.Duration `json:"timeout,omitempty"` // session timeout, in nanoseconds: the shortest that was granted in this session; 0 before the first

	// What the client costs ZooKeeper: the candidates that count towards
	// WithMaxEphemeralBytes, the bytes that they count, and the limit.
	Candidates int `json:"candidates"`
	ZnodeBytes int `json:"znodeBytes"`
	MaxBytes   int `json:"maxBytes"`

	// LastError is why ZooKeeper refused the credentials, else, while the client is not
	// connected, why no server could be reached or how the last connection ended.
	LastError string `json:"lastError,omitempty"`
}

// Status returns a snapshot. It sends no request and does not block.
func (c *Client) Status() ClientStatus {
	if c.sess == nil {
		return ClientStatus{Closed: true} // not made by Connect, Open or NewClient
	}

	st := c.sess.Status()
	s := ClientStatus{Connected: st.Connected, Closed: c.sess.Closed(), Since: st.Since, SessionID: st.ID, Timeout: st.Timeout}
	if st.Connected {
		s.Server = c.sess.Server()
	}

	c.mu.Lock()
	s.Candidates, s.ZnodeBytes, s.MaxBytes = len(c.candidates), c.bytes, c.maxBytes
	c.mu.Unlock()

	if s.Closed {
		return s
	}
	err := c.pending.refused()
	if !st.Connected {
		err = cmp.Or(err, c.sess.LastError(), c.sess.LastLoss())
	}
	if err != nil {
		s.LastError = err.Error()
	}
	return s
}

// String says in one line whether the client is connected, or why not, and what it costs.
func (s ClientStatus) String() string {
	var b strings.Builder
	switch {
	case s.Closed:
		b.WriteString("closed")
	case s.Connected && s.Server != "":
		fmt.Fprintf(&b, "connected to %s", s.Server)
	case s.Connected:
		b.WriteString("connected")
	default:
		b.WriteString("not connected to ZooKeeper")
	}

	if !s.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", s.Since.Format(time.RFC3339))
	}
	if s.Connected {
		fmt.Fprintf(&b, ", session timeout %v", s.Timeout)
	}
	fmt.Fprintf(&b, "; %d candidates, %d of %d bytes of znode names", s.Candidates, s.ZnodeBytes, s.MaxBytes)
	if s.LastError != "" {
		fmt.Fprintf(&b, "; last error: %s", s.LastError)
	}
	return znode.OneLine(b.String())
}
