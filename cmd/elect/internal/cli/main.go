// Package cli is what all commands of elect share: the common flags, the way to
// ZooKeeper, exit codes, the form of errors and of the help, and shell completion.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/go-zookeeper/zk"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// Env is what a command runs with.
type Env struct {
	// Context ends at the first SIGINT, SIGTERM or SIGHUP. Its cause is a [Signal] then.
	Context context.Context
	Flags   *Flags
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Log goes to Stderr: from Warn on when there is a session, and all from Info on with
	// --verbose.
	Log   *slog.Logger
	level slog.LevelVar
}

// Connect returns a client with a session. It waits for --timeout, and its error is an
// [Error] with the exit code. Close the client.
func (e *Env) Connect() (*election.Client, error) {
	opts, err := e.Flags.options()
	if err != nil {
		return nil, err
	}
	client, err := election.Open(e.Flags.ZK, append(opts, election.WithClientLogger(e.Log))...)
	if err != nil { // an argument is wrong: Open waits for nothing
		return nil, &Error{Code: Usage, What: text(err), Do: "check --zk and --session"}
	}

	ctx, cancel := context.WithTimeout(e.Context, e.Flags.Timeout)
	defer cancel()
	err = client.Do(ctx, func(*zk.Conn) error { return nil }) // waits for the session and the credentials
	if err == nil {
		e.level.Set(min(e.level.Level(), slog.LevelWarn))
		return client, nil
	}
	why := client.Status().LastError
	_ = client.Close()
	if e.Context.Err() == nil && ctx.Err() != nil {
		return nil, &Error{Unavailable, fmt.Sprintf("no ZooKeeper at %s within %v: %s", e.Flags.ZK, e.Flags.Timeout,
			cmp.Or(why, "no answer")), "check --zk and that the servers run"}
	}
	return nil, e.Explain(err)
}

// Main parses args by grammar, a pointer to a struct with kong's tags that embeds flags,
// runs the command and returns the exit code. A command is a struct with a method
// Run(*Env) error, and a method Help() string for the examples.
func Main(grammar any, flags *Flags, args []string) int {
	ctx, stop := untilSignal()
	defer stop()
	env := &Env{Context: ctx, Flags: flags, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}

	exited := -1
	parser, err := kong.New(grammar, kong.Name("elect"), kong.Description(description),
		kong.Writers(env.Stdout, env.Stderr), kong.Exit(func(code int) { exited = code; panic(exiting{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Vars{"version": version()})
	if err != nil {
		panic(err) // the grammar is wrong; every test of a command finds it
	}
	return run(parser, env, args, &exited)
}

// exiting is thrown where kong would exit.
type exiting struct{}

func run(parser *kong.Kong, env *Env, args []string, exited *int) (exit int) {
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(exiting); !ours {
				panic(r)
			}
			exit = *exited
		}
	}()
	kongplete.Complete(parser, kongplete.WithPredictor("file", complete.PredictFiles("*")))

	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(env.Stderr, "elect: %s (see %s)\n", znode.OneLine(err.Error()), helpFor(err))
		return Usage
	}
	env.Log = slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: &env.level}))
	env.level.Set(slog.LevelError) // until there is a session, the error says all
	if env.Flags.Verbose {
		env.level.Set(slog.LevelInfo)
	}

	err = env.Explain(ctx.Run(env))
	var silent Exit
	if err != nil && !errors.As(err, &silent) {
		fmt.Fprintf(env.Stderr, "elect: %s\n", znode.OneLine(text(err)))
	}
	return code(err)
}

// helpFor names the help for a command line that could not be parsed.
func helpFor(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return "elect " + node.Name + " --help"
		}
	}
	return "elect --help"
}

const description = "Leader election on Apache ZooKeeper, from a shell."

// untilSignal returns a context that the first signal ends.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			cancel(Signal{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

type versionFlag bool

// BeforeReset prints the version when kong finds the flag.
func (versionFlag) BeforeReset(app *kong.Kong, vars kong.Vars) error {
	fmt.Fprintln(app.Stdout, "elect", vars["version"])
	app.Exit(0)
	return nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}
