package driver

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/zkelection/election/internal/machine"
	"github.com/zkelection/election/internal/queue"
)

func TestAZnodeReadBeforeTheConnectionWasLostIsReadAgain(t *testing.T) {
	own := new(queue.Own)
	for name, c := range map[string]struct {
		asked machine.ReadOwn
		used  *queue.Own
	}{
		"the connection has lived on": {machine.ReadOwn{NodeGen: 1, ConnGen: 2}, own},
		"the connection was lost":     {machine.ReadOwn{NodeGen: 1, ConnGen: 3}, nil},
		"it is another znode":         {machine.ReadOwn{NodeGen: 2, ConnGen: 2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := &early{1, 2, own}
			assert.Same(t, c.used, e.take(c.asked))
			assert.Nil(t, e.take(machine.ReadOwn{NodeGen: 1, ConnGen: 2}), "it answers one request only")
		})
	}
}
