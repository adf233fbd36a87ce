package text

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeys makes a console of Windows obey ANSI's codes, which older ones do on request only.
func obeys(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
