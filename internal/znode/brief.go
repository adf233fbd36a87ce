package znode

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// briefly is how many bytes of an ID or a path a text may show. Both may have a megabyte.
const briefly = 200

// Brief shortens s to at most 200 bytes for a line of text. It cuts between two
// characters.
func Brief(s string) string {
	const dots = "…"
	if len(s) <= briefly {
		return s
	}
	n := briefly - len(dots)
	for n > briefly-len(dots)-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + dots
}

// OneLine replaces control characters, which would begin a new line or do more to a
// terminal. Other participants choose their own names.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
