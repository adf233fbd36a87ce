package electionotel_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electionotel"
	"github.com/zkelection/election/electiontest"
)

func Example() {
	ctx := context.Background()
	reader, recorder := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	spans := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	if err := service(ctx, meters, spans); err != nil {
		log.Fatal(err)
	}

	var read metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &read); err != nil {
		log.Fatal(err)
	}
	for _, m := range read.ScopeMetrics[0].Metrics {
		if m.Name == "election.terms" {
			fmt.Println(m.Name, m.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		}
	}
	for _, span := range recorder.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// election.terms 1
	// election term
}

// service is a service with metrics, and a span for each term.
func service(ctx context.Context, meters metric.MeterProvider, spans trace.TracerProvider) error {
	zk, err := electiontest.Start() // a ZooKeeper in memory; a service has the addresses of its own
	if err != nil {
		return err
	}
	defer zk.Close()
	servers, err := zk.ListenTCP()
	if err != nil {
		return err
	}

	trace, err := electionotel.New(meters, electionotel.WithSpans(spans))
	if err != nil {
		return err
	}
	client, err := election.Connect(ctx, servers, election.WithTrace(trace))
	if err != nil {
		return err
	}
	defer client.Close()

	candidate, err := election.NewCandidate(client, "/nightly-job")
	if err != nil {
		return err
	}
	return candidate.Run(ctx, func(context.Context, *election.Term) error { return nil })
}
