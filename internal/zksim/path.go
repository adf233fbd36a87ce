package zksim

import (
	"strings"
	"unicode/utf8"
)

// parentOf splits a path at its last slash, as the original does. The root's parent is
// the root. ok is false if PrepRequestProcessor refuses the path at once: it has no
// slash, or a null character.
func parentOf(path string) (parent, name string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 || strings.IndexByte(path, 0) >= 0 {
		return "", "", false
	}
	if i == 0 {
		return "/", path[1:], true
	}
	return path[:i], path[i+1:], true
}

// validPath is PathUtils.validatePath.
func validPath(path string) bool {
	if path == "/" {
		return true
	}
	if len(path) == 0 || path[0] != '/' || !utf8.ValidString(path) {
		return false
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return strings.IndexFunc(path, forbidden) < 0
}

// forbidden reports whether no path may hold the character. The last range covers
// everything beyond the basic plane: Java sees such characters as surrogates, which are
// forbidden.
func forbidden(c rune) bool {
	return c <= 0x1f || c >= 0x7f && c <= 0x9f || c >= 0xd800 && c <= 0xf8ff || c >= 0xfff0
}

// special reports whether no one may delete the path (ZKDatabase.isSpecialPath).
func special(path string) bool {
	switch path {
	case "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config":
		return true
	}
	return false
}
