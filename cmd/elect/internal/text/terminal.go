package text

import (
	"encoding/json"
	"io"
	"os"

	"golang.org/x/term"
)

// Format is the flag that says how a command writes.
type Format struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"table for people, json for programs."`
}

// JSON reports whether the output is for programs.
func (f Format) JSON() bool { return f.Output == "json" }

// WriteJSON writes v as one document, or on one line.
func WriteJSON(w io.Writer, v any, line bool) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if !line {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// Terminal reports whether w is a terminal that obeys ANSI's codes.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && obeys(f)
}

// Colour reports whether to write colours to w: only to a terminal, and not if NO_COLOR is
// set (https://no-color.org).
func Colour(w io.Writer) bool { return os.Getenv("NO_COLOR") == "" && Terminal(w) }
