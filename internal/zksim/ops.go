package zksim

import "fmt"

// Op is a request type of the wire protocol (ZooDefs.OpCode).
type Op int32

// The operations that a client may send; [OpCreateSession] stands for its connect request.
const (
	OpCreate          Op = 1
	OpDelete          Op = 2
	OpExists          Op = 3
	OpGetData         Op = 4
	OpSetData         Op = 5
	OpGetACL          Op = 6
	OpSetACL          Op = 7
	OpGetChildren     Op = 8
	OpSync            Op = 9
	OpPing            Op = 11
	OpGetChildren2    Op = 12
	OpCheck           Op = 13
	OpMulti           Op = 14
	OpCreate2         Op = 15
	OpCreateContainer Op = 19
	OpCreateTTL       Op = 21
	OpSetAuth         Op = 100
	OpSetWatches      Op = 101
	OpCreateSession   Op = -10
	OpCloseSession    Op = -11

	opDeleteContainer Op = 20 // only the leader's own container check sends it
	opError           Op = -1
)

var opNames = map[Op]string{
	OpCreate: "create", OpDelete: "delete", OpExists: "exists", OpGetData: "getData", OpSetData: "setData",
	OpGetACL: "getACL", OpSetACL: "setACL", OpGetChildren: "getChildren", OpSync: "sync", OpPing: "ping",
	OpGetChildren2: "getChildren2", OpCheck: "check", OpMulti: "multi", OpCreate2: "create2",
	OpCreateContainer: "createContainer", OpCreateTTL: "createTTL", OpSetAuth: "setAuth",
	OpSetWatches: "setWatches", OpCreateSession: "createSession", OpCloseSession: "closeSession",
	opDeleteContainer: "deleteContainer", opError: "error",
}

// String is the operation's name in lower camel case.
func (o Op) String() string {
	if n, ok := opNames[o]; ok {
		return n
	}
	return fmt.Sprintf("op(%d)", int32(o))
}

// writes reports whether the operation is decided by the quorum (Request.isQuorum).
func (o Op) writes() bool {
	switch o {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL, OpDelete, opDeleteContainer, OpSetData,
		OpSetACL, OpCheck, OpMulti, OpCreateSession, OpCloseSession:
		return true
	}
	return false
}

// Code is an error code of the wire protocol (KeeperException.Code).
type Code int32

// The codes that this ensemble answers with.
const (
	CodeOK                      Code = 0
	CodeRuntimeInconsistency    Code = -2
	CodeMarshallingError        Code = -5
	CodeUnimplemented           Code = -6
	CodeBadArguments            Code = -8
	CodeNoNode                  Code = -101
	CodeNoAuth                  Code = -102
	CodeBadVersion              Code = -103
	CodeNoChildrenForEphemerals Code = -108
	CodeNodeExists              Code = -110
	CodeNotEmpty                Code = -111
	CodeSessionExpired          Code = -112
	CodeInvalidACL              Code = -114
	CodeAuthFailed              Code = -115
	CodeSessionMoved            Code = -118
)

// Error makes a code an error; the client library has its own text for each, this one is for the
// operator's calls ([Ensemble.Delete]).
func (c Code) Error() string { return fmt.Sprintf("zksim: error code %d", int32(c)) }

// asError keeps CodeOK from becoming a non-nil error.
func (c Code) asError() error {
	if c == CodeOK {
		return nil
	}
	return c
}
