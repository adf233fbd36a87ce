package electionhttp_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// trimmed is text without indentation.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// What the page shows is what the examples run.
func TestSnippetsOfThePageAreFromTheExamples(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	snippets := regexp.MustCompile("(?s)\n```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, snippets, 3)
	for _, s := range snippets {
		require.Contains(t, trimmed(string(examples)), trimmed(s[1]))
	}
}
