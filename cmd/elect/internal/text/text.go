// Package text writes what people read at a terminal.
package text

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/zkelection/election/internal/znode"
)

// Plain makes s fit for one cell of a table: of bounded length, and without control
// characters, which would begin a new line or do more to a terminal. Others choose the
// names that are shown.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, znode.Brief(s))
}

// Age returns how long something has lasted, in the two largest units: 0s, 42s, 3m12s,
// 5h3m, 2d7h. A time that is still to come by this machine's clock is 0s.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// Token returns a token as the library writes it.
func Token(t int64) string { return fmt.Sprintf("%#x", uint64(t)) }

// Ordinal returns first, second, third, 4th and so on.
func Ordinal(n int) string {
	switch {
	case n == 1:
		return "first"
	case n == 2:
		return "second"
	case n == 3:
		return "third"
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// Style is how a row of a table looks on a terminal.
type Style string

// The styles. They are ANSI's codes for graphic rendition.
const (
	Normal  Style = ""
	Head    Style = "1"    // bold
	Leader  Style = "32"   // green
	Warning Style = "33"   // yellow
	Bad     Style = "1;31" // bold red
)

// Paint returns s in a style if colour is true.
func Paint(colour bool, style Style, s string) string {
	if !colour || style == Normal {
		return s
	}
	return "\x1b[" + string(style) + "m" + s + "\x1b[0m"
}

// Table is a table whose columns are aligned.
type Table struct {
	rows   [][]string
	styles []Style
}

// Row adds a row. Its cells should be plain: see [Plain].
func (t *Table) Row(style Style, cells ...string) {
	t.rows = append(t.rows, cells)
	t.styles = append(t.styles, style)
}

// Write writes the table. Rows are painted when they have been aligned, since the codes for
// colours would count as text.
func (t *Table) Write(w io.Writer, colour bool) error {
	var aligned strings.Builder
	tabs := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, cells := range t.rows {
		fmt.Fprintln(tabs, strings.Join(cells, "\t"))
	}
	if err := tabs.Flush(); err != nil {
		return err
	}
	var painted strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(aligned.String(), "\n"), "\n") {
		if i < len(t.styles) {
			painted.WriteString(Paint(colour, t.styles[i], strings.TrimRight(line, " ")) + "\n")
		}
	}
	_, err := io.WriteString(w, painted.String())
	return err
}
