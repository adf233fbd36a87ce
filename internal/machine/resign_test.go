package machine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/machine"
)

// leading returns a machine that leads with the token 7.
func leading(t *testing.T) *machine.Machine {
	m := machine.New(machine.Config{Strict: true})
	m.Step(machine.Start{}, false)
	m.Step(machine.Online{Session: 1}, false)
	m.Step(machine.Created{Name: "n-0000000001"}, false)
	gen := m.View().NodeGen
	m.Step(machine.OwnRead{NodeGen: gen, Token: 7, Owner: 1, Session: 1}, true)
	m.Step(machine.Listed{NodeGen: gen, Children: []string{"n-0000000001"}}, true)
	require.Equal(t, machine.Leading, m.View().State)
	return m
}

// deleted returns the Delete among actions.
func deleted(t *testing.T, actions []machine.Action) machine.Delete {
	for _, a := range actions {
		if d, ok := a.(machine.Delete); ok {
			return d
		}
	}
	require.Fail(t, "no znode is deleted", "%v", actions)
	return machine.Delete{}
}

func TestAResignForAnotherTokenIsVoid(t *testing.T) {
	m := leading(t)
	m.Step(machine.Resign{Token: 6}, true)
	require.Equal(t, machine.Leading, m.View().State)
	m.Step(machine.Resign{Token: 7}, true)
	require.Equal(t, machine.Stopping, m.View().State)
}

// A second Resign does not take back whom the first one named.
func TestASuccessorStaysUntilTheZnodeGoes(t *testing.T) {
	m := leading(t)
	m.Step(machine.Resign{To: "c"}, true)
	m.Step(machine.Resign{}, true)
	require.Equal(t, "c", deleted(t, m.Step(machine.Stopped{Term: 1}, true)).To)
}

// A hand-over that comes when the znode has gone must not make the next znode's end one.
func TestASuccessorIsOfOneZnode(t *testing.T) {
	m := leading(t)
	m.Step(machine.OwnGone{NodeGen: m.View().NodeGen}, true)
	m.Step(machine.Resign{To: "c"}, true)
	m.Step(machine.Stopped{Term: 1}, true)
	m.Step(machine.Created{Name: "n-0000000002"}, true)
	require.Empty(t, deleted(t, m.Step(machine.Close{}, true)).To)
}
