package jute

import "fmt"

// Code is an error code in a reply (KeeperException.Code). It is an error with the code's
// name, number and meaning.
type Code int32

// ZooKeeper's error codes. Servers of other kinds may send others, too.
const (
	CodeOK                      Code = 0
	CodeSystemError             Code = -1
	CodeRuntimeInconsistency    Code = -2
	CodeDataInconsistency       Code = -3
	CodeConnectionLoss          Code = -4
	CodeMarshallingError        Code = -5
	CodeUnimplemented           Code = -6
	CodeOperationTimeout        Code = -7
	CodeBadArguments            Code = -8
	CodeInvalidState            Code = -9
	CodeUnknownSession          Code = -12
	CodeNewConfigNoQuorum       Code = -13
	CodeReconfigInProgress      Code = -14
	CodeNoNode                  Code = -101
	CodeNoAuth                  Code = -102
	CodeBadVersion              Code = -103
	CodeNoChildrenForEphemerals Code = -108
	CodeNodeExists              Code = -110
	CodeNotEmpty                Code = -111
	CodeSessionExpired          Code = -112
	CodeInvalidACL              Code = -114
	CodeAuthFailed              Code = -115
	CodeNothing                 Code = -117
	CodeSessionMoved            Code = -118
	CodeNotReadOnly             Code = -119
	CodeLocalSession            Code = -120
	CodeNoWatcher               Code = -121
	CodeRequestTimeout          Code = -122
	CodeReconfigDisabled        Code = -123
	CodeRequiresSASL            Code = -124
	CodeQuotaExceeded           Code = -125
	CodeThrottled               Code = -127
)

// meanings has the name of each code, by ZooKeeper's Java client, or by its C client if
// Java has none, and what the code means.
var meanings = map[Code]struct{ name, text string }{
	CodeOK:                      {"OK", "no error"},
	CodeSystemError:             {"SYSTEMERROR", "the server had an error of its own"},
	CodeRuntimeInconsistency:    {"RUNTIMEINCONSISTENCY", "another operation of the transaction failed"},
	CodeDataInconsistency:       {"DATAINCONSISTENCY", "the server found its data inconsistent"},
	CodeConnectionLoss:          {"CONNECTIONLOSS", "the server lost the connection to its ensemble"},
	CodeMarshallingError:        {"MARSHALLINGERROR", "the server failed to read the request or to write its answer"},
	CodeUnimplemented:           {"UNIMPLEMENTED", "the server does not know this operation"},
	CodeOperationTimeout:        {"OPERATIONTIMEOUT", "the operation took the server too long"},
	CodeBadArguments:            {"BADARGUMENTS", "the arguments are invalid"},
	CodeInvalidState:            {"INVALIDSTATE", "the session is in no state for this operation"},
	CodeUnknownSession:          {"UNKNOWNSESSION", "the server does not know the session"},
	CodeNewConfigNoQuorum:       {"NEWCONFIGNOQUORUM", "no quorum of the new configuration is connected"},
	CodeReconfigInProgress:      {"RECONFIGINPROGRESS", "the ensemble is being reconfigured"},
	CodeNoNode:                  {"NONODE", "the znode does not exist"},
	CodeNoAuth:                  {"NOAUTH", "not permitted"},
	CodeBadVersion:              {"BADVERSION", "the version is another one"},
	CodeNoChildrenForEphemerals: {"NOCHILDRENFOREPHEMERALS", "an ephemeral znode cannot have children"},
	CodeNodeExists:              {"NODEEXISTS", "the znode exists already"},
	CodeNotEmpty:                {"NOTEMPTY", "the znode has children"},
	CodeSessionExpired:          {"SESSIONEXPIRED", "the session has expired"},
	CodeInvalidACL:              {"INVALIDACL", "the access control list is invalid"},
	CodeAuthFailed:              {"AUTHFAILED", "the credentials are not accepted"},
	CodeNothing:                 {"NOTHING", "there is no answer to process"},
	CodeSessionMoved: {"SESSIONMOVED",
		"the session has moved to another server, the request was not carried out"},
	CodeNotReadOnly: {"NOTREADONLY", "the server is read-only: it has no quorum"},
	CodeLocalSession: {"EPHEMERALONLOCALSESSION",
		"the session is a local one, which can have no ephemeral znodes"},
	CodeNoWatcher:        {"NOWATCHER", "there is no such watch"},
	CodeRequestTimeout:   {"REQUESTTIMEOUT", "the request was not completed in time"},
	CodeReconfigDisabled: {"RECONFIGDISABLED", "reconfiguration is disabled"},
	CodeRequiresSASL: {"SESSIONCLOSEDREQUIRESASLAUTH",
		"the server requires an authentication that this session does not have"},
	CodeQuotaExceeded: {"QUOTAEXCEEDED", "the quota of the path is exceeded"},
	CodeThrottled:     {"THROTTLEDOP", "the server is overloaded and did not carry out the request"},
}

// Known reports whether the code is one of ZooKeeper's.
func (c Code) Known() bool {
	_, ok := meanings[c]
	return ok
}

// Error returns the code's name, number and meaning.
func (c Code) Error() string {
	if m, ok := meanings[c]; ok {
		return fmt.Sprintf("zookeeper: %s (%d): %s", m.name, int32(c), m.text)
	}
	return fmt.Sprintf("zookeeper: the unknown error code %d", int32(c))
}
