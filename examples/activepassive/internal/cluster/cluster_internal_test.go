//go:build linux

package cluster

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// goodAgent is an agent that gives NGINX a configuration to start with, and then keeps
// running.
const goodAgent = `
for path in client_body proxy fastcgi uwsgi scgi; do paths="$paths ${path}_temp_path '$NGINX_DIR/$path';"; done
echo "pid '$NGINX_DIR/nginx.pid'; error_log stderr; events {} http { $paths server { listen $NGINX_LISTEN; } }" > "$NGINX_DIR/nginx.conf"
case "$*" in *-onetime*) exit 0;; esac
` + stay

const stay = "exec tail -f /dev/null"

func TestStartFailsWhenAProcessHasEnded(t *testing.T) {
	zktest.SkipIfShort(t, "NGINX")
	for name, c := range map[string]struct{ agent, node, want string }{
		"NGINX, for want of a configuration": {"exit 0", stay, "nginx has ended: exit status 1"},
		"the agent":                          {strings.ReplaceAll(goodAgent, stay, "exit 4"), stay, "agent has ended: exit status 4"},
		"a node":                             {goodAgent, "exit 3", "node-1 has ended: exit status 3"},
		"the agent's first run":              {"exit 5", "", "the first configuration: exit status 5"},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			for program, script := range map[string]string{"agent": c.agent, "node": c.node} {
				require.NoError(t, os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script), 0o700))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := Start(ctx, Config{ZooKeeper: "127.0.0.1:1", Dir: t.TempDir(), Bin: bin, Session: time.Second,
				Linger: time.Second, Nodes: 1, Output: NewOutput(io.Discard)})
			require.ErrorContains(t, err, c.want)
			require.NoError(t, ctx.Err(), "it does not wait until it is interrupted")
		})
	}
}

func TestNoAddressIsGivenTwice(t *testing.T) {
	c, given := &Cluster{given: map[string]bool{}}, map[string]bool{}
	for range 1000 { // of 10,000 ports; without care, some would be given twice
		addr, err := c.freeAddr()
		require.NoError(t, err)
		require.False(t, given[addr], addr)
		given[addr] = true
	}
}
