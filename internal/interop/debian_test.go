package interop

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/zktest"
)

// .ci/packages is for people and scripts that install packages before they run tests.
func TestTheListOfPackagesNamesAllThatAreNeeded(t *testing.T) {
	text, err := os.ReadFile("../../.ci/packages")
	require.NoError(t, err)
	var listed []string
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSpace(line); name != "" && !strings.HasPrefix(name, "#") {
			listed = append(listed, name)
		}
	}
	require.Subset(t, listed, packages())
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	zktest.SkipIfShort(t, "Debian's packages of Java's and Python's clients")
	require.NoError(t, Require())
	require.Empty(t, missing())
	t.Setenv("PATH", t.TempDir())
	require.Equal(t, []string{"openjdk-17-jdk-headless"}, slices.Compact(missing()))
}
