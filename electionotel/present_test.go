package electionotel

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both modules keep the same books of the candidates. A package for both would have to stand in the core module, and
// then neither could change apart from it. So each has its own copy, and what is mended in one is mended in the other.
func TestBothModulesKeepTheSameBooks(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		_, body, found := strings.Cut(string(text), "\n")
		require.True(t, found)
		return body
	}
	require.Equal(t, read("../electionprom/present.go"), read("present.go"))
}
