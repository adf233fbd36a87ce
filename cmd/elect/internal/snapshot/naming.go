package snapshot

import (
	"regexp"
	"strings"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// What differs between the names of one kind. A long number is an id, such as that of a
// session in the names of ZooKeeper's lock recipe ("x-72057594037927936-").
var (
	uuid   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	hex    = regexp.MustCompile(`[0-9a-f]{32}`)
	number = regexp.MustCompile(`[0-9]{6,}`)
)

// numberMark stands for a long number in a template.
const numberMark = "{number}"

// Naming returns the template that a candidate's name was probably made from: the name
// without its counter, and with {uuid}, {hex} or {number} for what differs between the
// candidates of one library. Names of one kind have the same template.
func Naming(name string) string {
	seq, ok := znode.Sequence(name)
	if !ok {
		return name
	}
	const digits = 10
	head := name[:len(name)-digits]
	if int32(seq) < 0 && (head == "-" || strings.HasSuffix(head, "--") || strings.HasSuffix(head, "_-")) {
		head = head[:len(head)-1] // the sign of a counter that has overflowed
	}
	head = uuid.ReplaceAllLiteralString(head, znode.UUIDMark)
	head = hex.ReplaceAllLiteralString(head, znode.HexMark)
	return number.ReplaceAllLiteralString(head, numberMark)
}

// users says who makes names of a template.
var users = map[string]string{
	string(election.CuratorLatch):    "this library, or Curator's LeaderLatch",
	string(election.CuratorSelector): "Curator's LeaderSelector or locks",
	string(election.KazooLock):       "Kazoo",
	string(election.ZooKeeperRecipe): "ZooKeeper's LeaderElectionSupport, or ZooKeeperNetEx",
	"_c_{hex}-lock-":                 "go-zookeeper's Lock",
	"x-{number}-":                    "ZooKeeper's lock recipe",
}

// Users says in words who makes names of a template. It is empty if that is not known.
func Users(naming string) string { return users[naming] }
