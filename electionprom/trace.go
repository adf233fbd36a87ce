package electionprom

import (
	"context"
	"errors"

	"github.com/zkelection/election"
)

// trace returns the functions that count.
func (m *metrics) trace() *election.Trace {
	return &election.Trace{
		StateChanged: m.stateChanged,
		TermBegan:    func(i election.TermBeganInfo) { m.terms.WithLabelValues(m.label(i.Path)).Inc() },
		TermEnded: func(i election.TermEndedInfo) {
			m.ended.WithLabelValues(m.label(i.Path), election.Cause(i.Cause)).Inc()
		},
		RequestFailed: func(i election.RequestFailedInfo) { m.failures.WithLabelValues(m.label(i.Path)).Inc() },
		WorkOverran:   func(i election.WorkOverranInfo) { m.overruns.WithLabelValues(m.label(i.Path)).Inc() },
		Guarded: func(i election.GuardedInfo) {
			m.guards.WithLabelValues(m.label(i.Path), guardResult(i.Err)).Inc()
		},
		LeaseProved: func(i election.LeaseProvedInfo) {
			result := "ok"
			if i.Err != nil {
				result = "failed"
			}
			m.proof.WithLabelValues(result).Observe(i.Took.Seconds())
		},
		SessionChanged: func(i election.SessionChangedInfo) { m.events.WithLabelValues(sessionEvent(i)).Inc() },
	}
}

func (m *metrics) stateChanged(i election.StateChangedInfo) {
	name := m.label(i.Path)
	first, took, led := m.moved(name, i)
	if first {
		m.begin(name)
	}
	if led {
		m.takeover.WithLabelValues(name).Observe(max(took.Seconds(), 0))
	}
}

// guardResult returns the label for what Guard returned.
func guardResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, election.ErrTermOver):
		return "term_over"
	case errors.Is(err, election.ErrDisconnected), errors.Is(err, election.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "no_answer"
	}
	return "failed"
}

// sessionEvent returns the label for a change of a session.
func sessionEvent(i election.SessionChangedInfo) string {
	switch {
	case i.GivenUp != nil:
		return "given_up"
	case i.Connected:
		return "connected"
	case i.SessionID == 0:
		return "expired"
	}
	return "disconnected"
}
