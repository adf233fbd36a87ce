package zksim

import "github.com/zkelection/election/internal/jute"

// writes reports whether a quorum decides the operation (Request.isQuorum).
func writes(op jute.Op) bool {
	switch op {
	case jute.OpCreate, jute.OpCreate2, jute.OpCreateContainer, jute.OpCreateTTL, jute.OpDelete,
		jute.OpDeleteContainer, jute.OpSetData, jute.OpSetACL, jute.OpCheck, jute.OpMulti, jute.OpReconfig,
		jute.OpCreateSession, jute.OpCloseSession:
		return true
	}
	return false
}

// asError returns the code as an error, and nil for CodeOK.
func asError(c jute.Code) error {
	if c == jute.CodeOK {
		return nil
	}
	return c
}
