//go:build !unix

package run

import (
	"runtime"

	"github.com/zkelection/election/cmd/elect/internal/cli"
)

// KeepIfAsked does nothing here.
func KeepIfAsked() {}

// Run returns an error.
func (c *Command) Run(*cli.Env) error {
	return &cli.Error{Code: cli.Failed, What: "elect run does not work on " + runtime.GOOS,
		Do: "it needs process groups and signals; use the library, or a system such as Linux"}
}
