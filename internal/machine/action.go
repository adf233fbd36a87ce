package machine

import "time"

// Action is something that the owner of a Machine is to do. Requests are answered by the
// event named.
type Action interface{ action() }

type (
	// Create: make the election path if it is missing and a znode under it. → Created,
	// and perhaps Listed with this NodeGen, which the znode will have. If the znode is read
	// along with it, that answers a ReadOwn of this NodeGen and this ConnGen.
	Create struct {
		Session int64
		NodeGen uint64
		ConnGen uint64
	}
	// Recover: look for znodes that earlier creates of this candidate made; remove those
	// that are not the present session's. → Created
	Recover struct{ Session int64 }
	// ReadOwn: read the own znode and leave a watch on it. → OwnRead
	ReadOwn struct {
		NodeGen uint64
		ConnGen uint64
		Name    string
	}
	// List: list the children of the election path. → Listed
	List struct{ NodeGen uint64 }
	// WatchAhead: read the last of these znodes ahead and leave a watch on it, and see
	// whether the others exist. All of it is sent at once. → AheadRead
	WatchAhead struct {
		NodeGen uint64
		Names   []string
	}
	// Check: see whether these znodes exist; the first is the own one. → Checked
	Check struct {
		NodeGen uint64
		ConnGen uint64
		Names   []string
	}
	// Delete: remove the own znode, and all behind it up to the one with the ID To, unless
	// To is empty. With Mark, say in the record, which is of this version, that the reign is
	// over. → Deleted
	Delete struct {
		NodeGen uint64
		Name    string
		To      string
		Mark    bool
		Token   int64
		Version int32
	}
	// ReadRecord: read the record of the last reign. Leave a watch on it, unless no one is
	// ahead (Alone). → RecordRead
	ReadRecord struct {
		NodeGen uint64
		Alone   bool
	}
	// Begin: write the own znode's token into the record, if the record has this version and
	// the znode exists. → Begun
	Begin struct {
		NodeGen uint64
		Name    string
		Token   int64
		Version int32
	}
	// Wait: wait until the reign in the record is over. Lasts is how long after its last proof
	// its candidate may lead (0: not known). Count from when no one was ahead. → Waited
	Wait struct {
		NodeGen uint64
		Version int32
		Lasts   time.Duration
	}
	// Renew: renew the session's lease by proofs that check this znode (On), or stop that.
	Renew struct {
		On   bool
		Node string
	}
	// Beat: write the own znode again and again, to show that this candidate lives (On), or
	// stop that.
	Beat struct {
		On      bool
		NodeGen uint64
		Node    string
	}
	// Evict: delete the znode ahead if it still has this version. First make sure that this
	// candidate is not cut off itself. → Evicted
	Evict struct {
		NodeGen uint64
		Name    string
		Version int32
	}
	// BeginTerm: this candidate leads.
	BeginTerm struct {
		Term    uint64
		Node    string
		Token   int64
		Session int64
	}
	// EndTerm: end the term at once. → Stopped when the work has returned.
	EndTerm struct{ Why Reason }
	// Backoff: wait, longer with the number of failures. → Retry
	Backoff struct{ Failures int }
	// Refuse: the start failed and is not retried.
	Refuse struct{}
	// Moved: the state changed.
	Moved struct{ From, To State }
	// Report: log Text, which says that something impossible has happened.
	Report struct{ Text string }
)

func (Create) action()     {}
func (Recover) action()    {}
func (ReadOwn) action()    {}
func (List) action()       {}
func (WatchAhead) action() {}
func (Check) action()      {}
func (Delete) action()     {}
func (ReadRecord) action() {}
func (Begin) action()      {}
func (Wait) action()       {}
func (Beat) action()       {}
func (Evict) action()      {}
func (Renew) action()      {}
func (BeginTerm) action()  {}
func (EndTerm) action()    {}
func (Backoff) action()    {}
func (Refuse) action()     {}
func (Moved) action()      {}
func (Report) action()     {}
