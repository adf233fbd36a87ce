package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// conversation runs serve with methods that the test defines.
type conversation struct {
	t       *testing.T
	in      *io.PipeWriter
	answers *bufio.Scanner
	ended   chan struct{}
}

func converse(t *testing.T, methods map[string]method) *conversation {
	t.Helper()
	inReader, in := io.Pipe()
	outReader, out := io.Pipe()
	c := &conversation{t: t, in: in, answers: bufio.NewScanner(outReader), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		serve(inReader, out, methods)
		_ = out.Close()
	}()
	t.Cleanup(func() { _ = in.Close(); <-c.ended })
	return c
}

func (c *conversation) say(line string) {
	c.t.Helper()
	_, err := io.WriteString(c.in, line+"\n")
	require.NoError(c.t, err)
}

func (c *conversation) hear(line string) {
	c.t.Helper()
	require.True(c.t, c.answers.Scan(), "instead of %s: %v", line, c.answers.Err())
	require.JSONEq(c.t, line, c.answers.Text())
}

// waits answers once its context ends.
func waits(ctx context.Context, _ json.RawMessage) (any, error) {
	<-ctx.Done()
	return nil, errors.Join(errors.New("it waited"), context.Cause(ctx))
}

type number struct {
	N int `json:"n"`
}

func double(_ context.Context, p number) (any, error) { return number{2 * p.N}, nil }

func TestEachRequestHasItsAnswer(t *testing.T) {
	c := converse(t, map[string]method{
		"double": with(double),
		"fail":   with(func(context.Context, struct{}) (any, error) { return number{1}, errors.New("no \"luck\"\nat all") }),
	})
	c.say(`{"id":1,"method":"double","params":{"n":21}}`)
	c.hear(`{"id":1,"result":{"n":42}}`)
	c.say(`{"id":2,"method":"fail"}`)
	c.hear(`{"id":2,"error":"no \"luck\"\nat all"}`)
	c.say(`{"id":3,"method":"none"}`)
	c.hear(`{"id":3,"error":"zktest: there is no method \"none\""}`)
	c.say(`{"id":4,"method":"double","params":{"n":"x"}}`)
	require.True(t, c.answers.Scan())
	require.Contains(t, c.answers.Text(), `{"id":4,"error":"zktest: params: `)
}

func TestASlowRequestHoldsUpNoOther(t *testing.T) {
	c := converse(t, map[string]method{"double": with(double), "wait": waits})
	c.say(`{"id":1,"method":"wait"}`)
	c.say(`{"id":2,"method":"double","params":{"n":1}}`)
	c.hear(`{"id":2,"result":{"n":2}}`)
	c.say(`{"id":2,"method":"cancel"}`) // it is late, and does nothing
	c.say(`{"id":1,"method":"cancel"}`)
	c.hear(`{"id":1,"error":"it waited\ncontext canceled"}`)
}

func TestTheEndOfTheInputEndsWhatIsRunning(t *testing.T) {
	c := converse(t, map[string]method{"wait": waits})
	c.say(`{"id":1,"method":"wait"}`)
	require.NoError(t, c.in.Close())
	c.hear(`{"id":1,"error":"it waited\ncontext canceled"}`)
	<-c.ended
}

func TestWhatIsNoRequestEndsTheConversation(t *testing.T) {
	c := converse(t, nil)
	c.say(`Hello?`)
	require.True(t, c.answers.Scan())
	require.Contains(t, c.answers.Text(), `zktest: not a request: `)
	<-c.ended
}
