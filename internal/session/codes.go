package session

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/jute"
)

// Code is an error code as a server sent it. The session returns it for codes that the
// driver has no error for.
type Code = jute.Code

// Codes that callers of the session treat in a special way.
const (
	Unimplemented = jute.CodeUnimplemented
	LocalSession  = jute.CodeLocalSession
	RequiresSASL  = jute.CodeRequiresSASL
	QuotaExceeded = jute.CodeQuotaExceeded
)

// unknown begins the driver's error for a code that it does not know (constants.go,
// ErrCode.toError).
const unknown = "unknown error: "

// Translate returns the [Code] for the driver's error for a code that it does not know.
// It returns all other errors unchanged, including those that wrap such an error.
func Translate(err error) error {
	if err == nil {
		return nil
	}
	if number, ok := strings.CutPrefix(err.Error(), unknown); ok {
		if n, e := strconv.ParseInt(number, 10, 32); e == nil {
			return Code(n)
		}
	}
	return err
}

// processed are the driver's errors for a request that the server took in its turn and
// refused. zk.ErrAPIError is not among them: the driver returns it for a reply to a
// transaction that it cannot read, whatever the reply says (structs.go, multiResponse).
var processed = []error{zk.ErrNoNode, zk.ErrNoAuth, zk.ErrBadVersion, zk.ErrNoChildrenForEphemerals,
	zk.ErrNodeExists, zk.ErrNotEmpty, zk.ErrInvalidACL, zk.ErrBadArguments}

// answers are the driver's other errors that a server sent. zk.ErrSessionExpired always
// comes from a server: if the driver learns of the expiry at a handshake, no request is
// left that could fail with it (conn.go, loop).
var answers = []error{zk.ErrSessionExpired, zk.ErrSessionMoved, zk.ErrAuthFailed, zk.ErrNothing, zk.ErrReconfigDisabled}

// Processed reports whether a server took the request in its turn, by the error that the
// request returned: the server carried it out, or refused what it asked for. A write then
// came after all earlier writes of its session, and the answer shows that the session is
// alive. A throttled request, for example, shows neither.
func Processed(err error) bool { return err == nil || isAny(err, processed) }

// Answered reports whether a server answered the request, by the error that the request
// returned.
func Answered(err error) bool {
	var code Code
	return Processed(err) || isAny(err, answers) || errors.As(err, &code)
}

// Uncertain reports whether err leaves open if the server carried out the request: the
// server could not tell, or it sent an unknown code. ZooKeeper's servers do not carry out
// a request that they answer with any other code. MARSHALLINGERROR is uncertain because
// writing the answer alone can cause it (FinalRequestProcessor).
func Uncertain(err error) bool {
	var code Code
	if !errors.As(err, &code) {
		return false
	}

	switch code {
	case jute.CodeSystemError, jute.CodeDataInconsistency, jute.CodeConnectionLoss,
		jute.CodeMarshallingError, jute.CodeOperationTimeout, jute.CodeRequestTimeout:
		return true
	}
	return !code.Known()
}

func isAny(err error, of []error) bool {
	return slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
}
