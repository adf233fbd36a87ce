package election

import (
	"errors"
	"strings"

	"github.com/zkelection/election/internal/znode"
)

// Naming is how a candidate's znode is called: a template, to which ZooKeeper appends its
// ten-digit counter. In it, "{uuid}" and "{hex}" stand for a random UUID. A candidate of
// any naming finds its place in line by the ten digits at the end of each child's name,
// so candidates of all namings share one line. A template that ends in "--" or "_-", or
// is "-", is refused: its last character would read as the number's sign.
//
// A naming without a UUID works, with two limits. Only its session and ID tell a znode
// whose creation was not confirmed from others. And after the whole path was deleted by
// hand, a delete that the network has held up may hit a new znode of the same name.
//
// The server's counter ends at 2^31-1 and stays there. Candidates that come then bear one
// number, and their order is that in which their znodes were created. With a naming that
// has no UUID, only the first gets a name. The others get zk.ErrNodeExists from Start,
// with an explanation. Delete the path while nobody takes part there, and it counts from
// 0 again.
type Naming string

// The namings of other software. A mixed line is only as safe as its weakest member: see
// the package documentation.
const (
	// CuratorLatch is the naming of Apache Curator's LeaderLatch. It is the default.
	CuratorLatch Naming = "_c_{uuid}-latch-"
	// CuratorSelector is the naming of Apache Curator's LeaderSelector.
	CuratorSelector Naming = "_c_{uuid}-lock-"
	// KazooLock is the naming of Kazoo's Lock, and so of its Election.
	KazooLock Naming = "{hex}__lock__"
	// ZooKeeperRecipe is the naming of LeaderElectionSupport in ZooKeeper's recipes and
	// in ZooKeeperNetEx.
	ZooKeeperRecipe Naming = "n_"
)

func (n Naming) validate() error {
	if n == "" {
		return errors.New("is empty")
	}
	if strings.Contains(string(n), "/") {
		return errors.New("has a /")
	}
	prefix := znode.Prefix(string(n), [16]byte{})
	if !znode.Plain(prefix) {
		return errors.New("ends in a - that reads as the sign of the number behind it")
	}
	return znode.CheckName(prefix) // the driver looks at it without the number
}
