package electionhttp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Requests of a test go to the loopback interface, and so never to a proxy. So this looks
// at the setting itself.
func TestForwardedRequestsGoToNoProxy(t *testing.T) { require.Nil(t, transport().Proxy) }
