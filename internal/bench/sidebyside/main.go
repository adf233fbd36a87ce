package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() { os.Exit(dispatch(func() int { return command(os.Args[1:]) })) }

// dispatch serves as a peer or as an etcd server if this process was started as one, and
// calls f otherwise.
func dispatch(f func() int) int {
	if text := os.Getenv(peerEnv); text != "" {
		return peerMain(text)
	}
	if words := strings.Fields(os.Getenv(etcdEnv)); len(words) == 3 {
		return etcdMain(words[0], words[1], words[2])
	}
	return f()
}

const usage = `usage:
  sidebyside measure [flags]   measures all contenders and writes the data
  sidebyside draw [flags]      makes docs/benchmarks.md and its drawings of the data
-h after the command lists the flags
`

func command(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch args[0] {
	case "measure":
		err = measureCommand(ctx, args[1:])
	case "draw":
		err = drawCommand(args[1:])
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// defaultOptions are those of a whole run.
func defaultOptions() options {
	return options{out: "docs/benchmarks/data.json", seed: uint64(time.Now().UnixNano()), rounds: 60, warmup: 15, lines: 8,
		inLine: 10, kills: 5, idle: time.Minute, repeat: 3}
}

func measureCommand(ctx context.Context, args []string) error {
	o := defaultOptions()
	flags := flag.NewFlagSet("measure", flag.ExitOnError)
	flags.StringVar(&o.out, "out", o.out, "file for the data")
	flags.StringVar(&o.folder, "folder", "", "folder for the servers' data, which is removed at the end; empty: the system's temporary one")
	flags.Uint64Var(&o.seed, "seed", o.seed, "of the order of the rounds")
	flags.IntVar(&o.rounds, "rounds", o.rounds, "hand-overs between two, for each contender")
	flags.IntVar(&o.warmup, "warmup", o.warmup, "rounds before, which do not count")
	flags.IntVar(&o.lines, "lines", o.lines, "lines that leave, for each contender")
	flags.IntVar(&o.kills, "kills", o.kills, "leaders killed, for each contender and session timeout")
	flags.DurationVar(&o.idle, "idle", o.idle, "how long idle participants are observed")
	flags.IntVar(&o.repeat, "repeat", o.repeat, "how often each scenario of the torture is played")
	flags.StringVar(&o.only, "only", "", "some of rounds,lines,bytes,idle,crash,torture; empty: all")
	flags.StringVar(&o.beside, "beside", "", "what else runs on the machine, for the page; empty: nothing that is known")
	_ = flags.Parse(args) // it exits on an error
	for name, n := range map[string]int{"rounds": o.rounds, "lines": o.lines, "kills": o.kills, "repeat": o.repeat} {
		if n < 1 {
			return fmt.Errorf("-%s is %d: it must be 1 or more", name, n)
		}
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if o.only != "" && !slices.ContainsFunc(measures, func(m measureOf) bool { return m.name == name }) {
			return fmt.Errorf("-only: %q is no measure", name)
		}
	}
	fmt.Printf("seed %d\n", o.seed)
	return measure(ctx, o, os.Stdout)
}

func drawCommand(args []string) error {
	flags := flag.NewFlagSet("draw", flag.ExitOnError)
	docs := flags.String("docs", "docs", "folder of benchmarks.md and benchmarks/")
	_ = flags.Parse(args) // it exits on an error
	return drawAll(*docs)
}
