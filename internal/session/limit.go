package session

import "context"

// atOnce is how many calls of one kind may be under way at once.
//
// The driver sends requests one after another, in the order in which they come. A proof of
// the lease waits for all that came before it, and may be late by T/6 at most. With
// thousands of requests ahead of it, it comes too late. The calls of the user therefore wait
// here, where no proof has to queue behind them.
//
// 64 requests under way are enough for 6,400 a second if an answer takes 10 ms.
const atOnce = 64

// Limit bounds how many calls are under way at once. Calls that wait for their turn have it
// in the order in which they came.
type Limit chan struct{}

// enter waits for its turn. When ctx ends first, it returns ctx's error, and when the session
// is closed first, [ErrClosed]. leave ends the turn.
func (l Limit) enter(ctx context.Context, s *Session) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return CtxError(ctx)
	case <-s.Done():
		return ErrClosed
	}
}

func (l Limit) leave() { <-l }

// CallInTurn is [Call] for fenced writes of the user, of which only some are under way at
// once. began reports whether f may have run. check is called when it is f's turn; f does
// not run if check returns an error.
func CallInTurn[T any](ctx context.Context, s *Session, check func() error, f func() (T, error)) (v T, began bool, err error) {
	if err := s.writes.enter(ctx, s); err != nil {
		return v, false, err
	}
	if err := check(); err != nil {
		s.writes.leave()
		return v, false, err
	}
	v, err = callThen(ctx, s, f, s.writes.leave)
	return v, true, err
}

// AwaitTurn waits for a turn of a function of the user that uses the connection. The caller
// calls done once the function has returned.
func AwaitTurn(ctx context.Context, s *Session) (done func(), err error) {
	if err := s.works.enter(ctx, s); err != nil {
		return nil, err
	}
	return s.works.leave, nil
}
