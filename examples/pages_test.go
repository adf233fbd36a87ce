package examples_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// texts returns the pages in docs and at the top of the repository.
func texts(t *testing.T) []string {
	t.Helper()
	top, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	return append(pages(t), top...)
}

// A page that names a test names one that there is.
func TestTestsThatPagesNameExist(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	known := map[string]bool{}
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
		}
		return err
	}))

	named := 0
	for _, page := range texts(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(string(text), -1) {
			named++
			assert.True(t, known[m[1]], "%s names %s, and there is no such test", page, m[1])
		}
	}
	require.Greater(t, named, 50)
}

// A link of a page leads to a file of the repository, and to a heading of it if it names one.
func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	followed := 0
	for _, page := range texts(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(target); !assert.NoError(t, err, "a link of %s", page) || m[2] == "" {
				continue
			}
			assert.Contains(t, headings(t, target), m[2][1:], "%s links to %s", page, m[0])
		}
	}
	require.Greater(t, followed, 100)
}

// headings returns the anchors of a page's headings, as GitHub makes them.
func headings(t *testing.T, page string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	gone := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.ReplaceAll(gone.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return slices.Compact(all)
}
