package cli

// The exit codes of commands that look at an election or move it. They have the values of
// EX_NOINPUT and EX_PROTOCOL in sysexits.h.
const (
	Nobody  = 66 // nobody takes part there, or nobody with that ID
	Refused = 76 // the leader refuses what it was asked for, or does not answer
)
