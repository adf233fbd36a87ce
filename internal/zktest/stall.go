package zktest

import (
	"context"
	_ "embed"
	"strconv"
	"time"
)

// WithStall is for [Server.Stall], which holds up a thread of the server for length each time.
func WithStall(length time.Duration) Option {
	return func(s *settings) { s.stall = length }
}

//go:embed stall/stall.c
var stallSource []byte

var stallLibrary = newLibrary("stall", "a thread that stands still", stallSource)

// stallSignal is what the library waits for.
const stallSignal = "SIGRTMIN+5"

// prepareStall adds what makes a thread stand still.
func (s *settings) prepareStall() error {
	if s.stall <= 0 {
		return nil
	}
	return s.preload(stallLibrary, "STALL_US", strconv.FormatInt(s.stall.Microseconds(), 10))
}

// Stall has the thread QuorumPeer of the server stand still from now on, for as long as [WithStall] says, and returns at
// once. If the server leads an ensemble, its learners get no ping meanwhile and cannot tell it which clients they hear
// of, so that it ends these clients' sessions. Everything else goes on: it commits the learners' transactions.
func (s *Server) Stall(ctx context.Context) error {
	return s.engine.signal(ctx, s.container, stallSignal)
}
