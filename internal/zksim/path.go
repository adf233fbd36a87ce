package zksim

import (
	"strings"
	"unicode/utf8"
)

// parentOf splits a path as the original does, by its last slash; the root's parent is the root.
// ok is false where PrepRequestProcessor refuses the path unseen (no slash, a null character).
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

// forbidden are the characters that no path may hold; beyond the basic plane everything goes but
// what Java sees there as surrogates, which is the whole of it.
func forbidden(c rune) bool {
	return c <= 0x1f || c >= 0x7f && c <= 0x9f || c >= 0xd800 && c <= 0xf8ff || c >= 0xfff0
}

// special are the paths that nobody may delete (ZKDatabase.isSpecialPath).
func special(path string) bool {
	switch path {
	case "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config":
		return true
	}
	return false
}
