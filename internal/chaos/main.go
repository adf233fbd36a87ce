package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/zkelection/election/internal/interop"
)

func main() {
	if text := os.Getenv(candidateEnv); text != "" {
		os.Exit(candidateMain(text))
	}
	o := options{}
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "of the faults")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the random choices")
	flag.DurationVar(&o.timeout, "timeout", 4*time.Second, "of the sessions")
	flag.DurationVar(&o.within, "within", time.Second, "of fast failover")
	flag.StringVar(&o.dir, "out", "chaos-run", "folder for timeline.jsonl, timeline.svg and report.json")
	flag.BoolVar(&o.withJava, "java", true, "with Curator's LeaderLatch in one of the elections")
	flag.Parse()
	os.Exit(interop.Main(func() int { return command(o) }))
}

// command runs and prints the report.
func command(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := os.MkdirAll(o.dir, 0o755)
	if err == nil && o.withJava {
		if err = interop.RequireJava(); err != nil {
			err = fmt.Errorf("%w\nOr leave LeaderLatch out with -java=false", err)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Printf("seed %d\n", o.seed)
	report, err := run(ctx, o, os.Stdout)
	report.print(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the run could not go on:", err)
		return 2
	}
	if len(report.Wrong) > 0 {
		return 1
	}
	return 0
}
