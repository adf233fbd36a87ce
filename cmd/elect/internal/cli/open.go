package cli

import (
	"log/slog"

	"github.com/zkelection/election"
)

// Open returns a client without waiting for ZooKeeper, for a command that goes on while there
// is none. Close the client.
func (e *Env) Open() (*election.Client, error) {
	opts, err := e.Flags.options()
	if err != nil {
		return nil, err
	}
	client, err := election.Open(e.Flags.ZK, append(opts, election.WithClientLogger(e.Log))...)
	if err != nil {
		return nil, &Error{Code: Usage, What: text(err), Do: "check --zk and --session"}
	}
	e.level.Set(min(e.level.Level(), slog.LevelWarn))
	return client, nil
}
