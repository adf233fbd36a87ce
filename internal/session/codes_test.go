package session

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"

	"github.com/zkelection/election/internal/jute"
)

func TestTranslateNamesWhatTheDriverDoesNot(t *testing.T) {
	for n := int32(-1); n > -200; n-- {
		err := Translate(fmt.Errorf("unknown error: %d", n)) // zk.ErrCode's toError
		assert.ErrorIs(t, err, Code(n))
		assert.ErrorContains(t, err, fmt.Sprint(n))
		assert.True(t, Answered(err))
		assert.False(t, Processed(err))
	}
	assert.EqualError(t, Translate(errors.New("unknown error: -127")),
		"zookeeper: THROTTLEDOP (-127): the server is overloaded and did not carry out the request")
	assert.EqualError(t, Translate(errors.New("unknown error: 7")), "zookeeper: the unknown error code 7")
	assert.NoError(t, Translate(nil))
	for _, err := range []error{zk.ErrNoNode, errors.New("unknown error: no number"),
		fmt.Errorf("look: %w", zk.ErrNoNode)} {
		assert.Equal(t, err, Translate(err))
	}
}

func TestOnlyTheLackOfAnAnswerIsNone(t *testing.T) {
	for _, err := range []error{zk.ErrConnectionClosed, zk.ErrNoServer, zk.ErrClosing, zk.ErrAPIError,
		zk.ErrShortBuffer, errors.New("EOF")} {
		assert.False(t, Answered(err), err)
		assert.False(t, Uncertain(err), err)
	}
	for _, err := range []error{nil, zk.ErrNotEmpty, zk.ErrSessionMoved, zk.ErrAuthFailed,
		zk.ErrSessionExpired, jute.CodeThrottled} {
		assert.True(t, Answered(err), err)
		assert.False(t, Uncertain(err), err)
		assert.True(t, Answered(fmt.Errorf("create: %w", err)) || err == nil)
	}
	for _, err := range []error{jute.CodeConnectionLoss, jute.CodeOperationTimeout, Code(-99),
		fmt.Errorf("create: %w", Code(1))} {
		assert.True(t, Uncertain(err), err)
	}
}
