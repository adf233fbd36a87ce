package electionotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkelection/election"
)

// trace returns the functions that count.
func (m *metrics) trace() *election.Trace {
	ctx := context.Background()
	return &election.Trace{
		StateChanged:  m.stateChanged,
		TermBegan:     func(i election.TermBeganInfo) { m.terms.Add(ctx, 1, with(m.of(i.Path))) },
		TermEnded:     m.termEnded,
		RequestFailed: func(i election.RequestFailedInfo) { m.failures.Add(ctx, 1, with(m.of(i.Path))) },
		WorkOverran:   func(i election.WorkOverranInfo) { m.overruns.Add(ctx, 1, with(m.of(i.Path))) },
		Guarded: func(i election.GuardedInfo) {
			m.guards.Add(ctx, 1, with(m.of(i.Path), attribute.String("result", guardResult(i.Err))))
		},
		LeaseProved: func(i election.LeaseProvedInfo) {
			result := "ok"
			if i.Err != nil {
				result = "failed"
			}
			m.proof.Record(ctx, i.Took.Seconds(), with(attribute.String("result", result)))
		},
		SessionChanged: func(i election.SessionChangedInfo) {
			m.events.Add(ctx, 1, with(attribute.String("event", sessionEvent(i))))
		},
	}
}

func (m *metrics) stateChanged(i election.StateChangedInfo) {
	name := m.of(i.Path)
	first, took, led := m.moved(name.Value.AsString(), i)
	if first {
		m.begin(name)
	}
	if led {
		m.takeover.Record(context.Background(), max(took.Seconds(), 0), with(name))
	}
}

// termEnded makes the span only now, when its end is known: a span that is open may never
// be exported if the process is killed, and nothing could be put into it.
func (m *metrics) termEnded(i election.TermEndedInfo) {
	cause := election.Cause(i.Cause)
	m.ended.Add(context.Background(), 1, with(m.of(i.Path), attribute.String("cause", cause)))
	if m.spans == nil {
		return
	}
	_, span := m.spans.Start(context.Background(), "election term", trace.WithNewRoot(), trace.WithTimestamp(i.Began), trace.WithAttributes(
		attribute.String("election.path", i.Path),
		attribute.String("election.id", i.ID),
		attribute.String("election.token", fmt.Sprintf("%#x", i.Token)),
		attribute.String("election.cause", cause),
	))
	if !errors.Is(i.Cause, election.ErrResigned) && !errors.Is(i.Cause, election.ErrClosed) {
		span.SetStatus(codes.Error, i.Cause.Error())
	}
	ended := i.Ended
	if ended.Before(i.Began) { // the wall clock was set back meanwhile
		ended = i.Began.Add(i.Lasted)
	}
	span.End(trace.WithTimestamp(ended))
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
