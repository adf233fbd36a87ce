// Package run is the command elect run: it runs a command of any language while leading.
// Package keeper holds that command.
package run

import (
	"time"

	"github.com/zkelection/election"
)

// Command is elect run.
type Command struct {
	Path    string   `arg:"" help:"Path of the election, below the chroot."`
	Command []string `arg:"" name:"cmd" help:"The command and its arguments."`

	Fast     time.Duration     `placeholder:"1s" help:"Be replaced this long after a crash, rather than a session timeout. Give all candidates of the election the same."`
	Strict   bool              `help:"Keep two from leading even if znodes or sessions are ended by hand. Give it to all candidates of the election."`
	Grace    time.Duration     `default:"10s" placeholder:"10s" help:"Time between TERM and KILL."`
	Requeue  bool              `help:"When the command has ended, stand in line again, rather than exit. After a failure, pause 1 s, then twice as long each time, up to 1 min."`
	Wait     time.Duration     `placeholder:"1h" help:"Exit with 75 if this candidate has not led by then. Without it, wait for ever."`
	ID       string            `name:"id" placeholder:"NAME" help:"Name of this candidate. Default: the host's name and a random suffix."`
	Metadata map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"What others read about this candidate. May be repeated."`
}

// Help is shown below the flags' summary.
func (Command) Help() string {
	return `Waits until this candidate leads, and runs CMD. If the term is lost, the command is stopped, the
candidate stands in line again, and the command is run again when it leads. When the
command ends by itself, elect run leaves the line and exits with its code.

To stop the command, elect run sends TERM to its process group, and KILL --grace later. KILL
comes sooner if the lease ends, so the command has ended before another candidate leads. That
also holds if elect run itself is stopped or killed.

In the environment of the command:
  ELECTION_PATH    PATH
  ELECTION_ID      the name of this candidate
  ELECTION_TOKEN   the fencing token, such as 0x1f. It is larger for every later leader.
                   $((ELECTION_TOKEN)) is the same number in decimal.

Examples:
  elect run /nightly-job -- ./nightly.sh
  elect run /scheduler --fast 1s --id "$HOSTNAME" -- python3 scheduler.py --port 80
  elect run /backup --wait 10m -- sh -c 'restic backup /srv'

Exit codes: the command's own, or 128+n if signal n has ended it; 64 the command line is wrong; 69 no
ZooKeeper; 75 it has not led within --wait; 77 no permission; 126 and 127 as in a shell.`
}

// options are the candidate's.
func (c *Command) options() []election.Option {
	opts := []election.Option{election.WithID(c.ID)}
	if len(c.Metadata) > 0 {
		opts = append(opts, election.WithMetadata(c.Metadata))
	}
	if c.Fast != 0 {
		opts = append(opts, election.WithFastFailover(c.Fast))
	}
	if c.Strict {
		opts = append(opts, election.WithStrictHandover())
	}
	if c.Requeue {
		opts = append(opts, election.WithRequeue(time.Second, time.Minute))
	}
	return opts
}
