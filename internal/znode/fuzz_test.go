package znode

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPath checks what the rest of the library builds on: a path that is accepted is put
// together again from its parent and its name, and its ancestors are accepted, too.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a", "/a/b/c", "a", "ab/c", "/a/", "//", "/a/../b", "/.", "/\x00", "/\xff", "/ü/日本", "/\uf8ff", "/\U0001f600", "/ a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if err := CheckPath(path); err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		if path == "/" {
			return
		}

		cut := strings.LastIndexByte(path, '/')
		parent := path[:max(cut, 1)]
		require.NoError(t, CheckName(path[cut+1:]))
		require.NoError(t, CheckPath(parent))
		require.Equal(t, path, Join(parent, path[cut+1:]))
		ancestors := Parents(path)
		require.Len(t, ancestors, strings.Count(path, "/")-1)
		for _, a := range ancestors {
			require.NoError(t, CheckPath(a))
			require.True(t, strings.HasPrefix(path, a+"/"))
		}
	})
}

// FuzzLine sorts any children. Whoever has a number is in line exactly once and no one else
// is; the order does not depend on the order of the listing, unless numbers tie; and those
// ahead of a candidate are those that stand before it.
func FuzzLine(f *testing.F) {
	f.Add("n_0000000001\nn_0000000000", uint8(1))
	f.Add("_c_09f2c1aa-latch-0000000005\n_c_6d3c1b1e-latch-0000000004\nlock", uint8(0))
	f.Add("n_2147483647\nn_-2147483648\nn_-000000001\nn_0000000000", uint8(2))
	f.Fuzz(func(t *testing.T, listing string, own uint8) {
		children := strings.Split(listing, "\n")
		slices.Sort(children)
		children = slices.Compact(children) // the server lists a name once
		line := Sort(slices.Clone(children))

		var numbered []string
		for _, c := range children {
			if _, ok := Sequence(c); ok {
				numbered = append(numbered, c)
			}
		}
		require.ElementsMatch(t, numbered, line)
		distinct := map[uint32]bool{}
		for _, c := range line {
			n, _ := Sequence(c)
			distinct[n] = true
		}
		if len(line) == 0 {
			return
		}

		turned := slices.Clone(children)
		slices.Reverse(turned)
		if len(distinct) == len(line) {
			require.Equal(t, line, Sort(turned))
		}
		at := int(own) % len(line)
		ahead, behind, found := Ahead(children, line[at])
		require.True(t, found)
		require.Equal(t, line[:at], append([]string{}, ahead...))
		require.Equal(t, len(line)-at-1, behind)
	})
}
