package queue_test

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/queue"
)

func below(path string) string { return "/app" + path }

func TestFencedOpsStandBehindACheckOfTheZnodeAndBelowTheChroot(t *testing.T) {
	create := &zk.CreateRequest{Path: "/a", Data: []byte("x"), Flags: zk.FlagSequence}
	all, err := queue.FencedOps("/app/job/n-1", below, []any{create, &zk.DeleteRequest{Path: "/b", Version: 3},
		&zk.SetDataRequest{Path: "/c", Version: -1}, &zk.CheckVersionRequest{Path: "/d", Version: 4}})
	require.NoError(t, err)
	assert.Equal(t, []any{
		&zk.CheckVersionRequest{Path: "/app/job/n-1", Version: -1},
		&zk.CreateRequest{Path: "/app/a", Data: []byte("x"), Flags: zk.FlagSequence},
		&zk.DeleteRequest{Path: "/app/b", Version: 3},
		&zk.SetDataRequest{Path: "/app/c", Version: -1},
		&zk.CheckVersionRequest{Path: "/app/d", Version: 4},
	}, all)
	assert.Equal(t, "/a", create.Path, "the caller's own is left alone")
}

func TestFencedOpsNameEveryOperationThatCannotBe(t *testing.T) {
	_, err := queue.FencedOps("/own", below, []any{
		&zk.DeleteRequest{Path: "relative"},
		&zk.SetDataRequest{Path: "/good"},
		"write this",
		(*zk.CreateRequest)(nil),
		&zk.CreateRequest{Path: "/job/", Flags: zk.FlagSequence}, // as the server completes the name, it may end so
		&zk.CreateRequest{Path: "/job/"},
		&zk.CreateRequest{Path: "/job", Flags: zk.FlagTTL},
	})
	require.Error(t, err)
	for _, part := range []string{"operation 0: path \"relative\"", "operation 2: type string", "operation 3: *zk.CreateRequest is nil",
		"operation 5: path \"/job/\"", "operation 6: flags "} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "operation 1")
	assert.NotContains(t, err.Error(), "operation 4")
}
