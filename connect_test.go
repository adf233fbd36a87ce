package election_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election"
)

// What people write who think that each server has a chroot, or that servers are parted by something else. Two orders of
// the first would be two chroots, and two leaders.
func TestConnectString_AWrongSeparatorIsExplained(t *testing.T) {
	t.Parallel()
	for connect, says := range map[string][]string{
		"host:1/app,host:2/app":  {`"/app,host:2/app"`, "the chroot stands once, at the end", `"host:1,host:2/app"`},
		"host:1/a,host:2/b":      {"the chroot stands once, at the end", `"host:1,host:2/a"`},
		"host:1/app,host:2":      {"the chroot stands once, at the end", `"host:1,host:2/app"`},
		"host:1/,host:2/":        {"the chroot stands once, at the end", `"host:1,host:2"`},
		"host:1/app,":            {"the chroot stands once, at the end", `"host:1/app"`},
		"host:1/app;host:2/app":  {"the chroot stands once, at the end", `"host:1,host:2/app"`},
		"host:1/app host:2/app":  {"the chroot stands once, at the end", `"host:1,host:2/app"`},
		"host:1/app\thost:2/app": {"the chroot stands once, at the end"},
		"host:1;host:2/app":      {`"host:1;host:2"`, "servers are separated by commas"},
		"host1;host2":            {`"host1;host2"`, "servers are separated by commas"},
		"host:1 host:2":          {`"host:1 host:2"`, "servers are separated by commas"},
		"host:1\nhost:2":         {`"host:1\nhost:2"`, "servers are separated by commas"},
		"host1|host2":            {`"host1|host2"`, "servers are separated by commas"},
		"[":                      {`server "["`, "a bracket without its partner"},
		"[::1,host":              {"connectString"},
		"host]":                  {`server "host]"`, "a bracket without its partner"},
		"[[::1]]":                {`server "[[::1]]"`, "a bracket without its partner"},
	} {
		_, err := election.Connect(testContext(t), connect, election.WithClientLogger(silent))
		names(t, err, append(says, "connectString")...)
	}
}

// Spaces around a server are no part of it, and a chroot may hold what a znode's name may.
func TestConnectString_WhatIsNoSeparatorStays(t *testing.T) {
	t.Parallel()
	for _, connect := range []string{"127.0.0.1:1, 127.0.0.1:2/app", " 127.0.0.1:1 /a b", "127.0.0.1:1/a;b", "[::1]:1,[::1]/app:2"} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := election.Connect(ctx, connect, election.WithClientLogger(silent))
		require.ErrorIs(t, err, context.Canceled, connect)
	}
}
