package electionotel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionotel"
	"github.com/zkelection/election/electiontest"
)

func TestEachTermIsASpan(t *testing.T) {
	tell(t, func(t *testing.T, zk *electiontest.Ensemble) {
		spans := tracetest.NewSpanRecorder()
		a := start(t, zk, "a", electionotel.WithSpans(trace.NewTracerProvider(trace.WithSpanProcessor(spans))))
		x := a.candidate(job, election.WithID("x"))
		first := leads(t, x)
		time.Sleep(time.Minute)
		require.NoError(t, x.Resign(t.Context()))
		resigned := time.Now()
		second := leads(t, x)
		time.Sleep(time.Minute)
		zk.Cut("a")
		leaseEnd := second.Deadline()
		<-second.Done()
		rest()
		_ = a.client.Close() // it is cut off

		ended := spans.Ended()
		require.Len(t, ended, 2)
		require.Len(t, spans.Started(), 2)
		for i, want := range []struct {
			term  *election.Term
			end   time.Time
			cause string
			code  codes.Code
		}{{first, resigned, "resigned", codes.Unset}, {second, leaseEnd, "lease_expired", codes.Error}} {
			span := ended[i]
			assert.Equal(t, "election term", span.Name())
			assert.True(t, span.StartTime().Equal(want.term.Began()))
			assert.WithinDuration(t, want.end, span.EndTime(), 100*time.Millisecond)
			assert.Equal(t, want.code, span.Status().Code)
			assert.False(t, span.Parent().IsValid())
			assert.ElementsMatch(t, []attribute.KeyValue{
				attribute.String("election.path", job), attribute.String("election.id", "x"),
				attribute.String("election.token", fmt.Sprintf("%#x", want.term.Token())),
				attribute.String("election.cause", want.cause),
			}, span.Attributes())
		}
	})
}
