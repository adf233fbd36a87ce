package machine

// Action is something that the owner of a Machine is to do. Requests are answered by the event named.
type Action interface{ action() }

type (
	// Create: make the election path if it is missing and a znode under it. → Created
	Create struct{ Session int64 }
	// Recover: look for znodes that earlier creates of this candidate made; remove those that are not the present
	// session's. → Created
	Recover struct{ Session int64 }
	// ReadOwn: read the own znode and leave a watch on it. → OwnRead
	ReadOwn struct {
		Epoch uint64
		Link  uint64
		Name  string
	}
	// List: list the children of the election path. → Listed
	List struct{ Epoch uint64 }
	// WatchAhead: read a znode ahead and leave a watch on it. → AheadRead
	WatchAhead struct {
		Epoch uint64
		Name  string
	}
	// Check: see whether these znodes exist; the first is the own one. → Checked
	Check struct {
		Epoch uint64
		Link  uint64
		Names []string
	}
	// Delete: remove the own znode. → Deleted
	Delete struct {
		Epoch uint64
		Name  string
	}
	// Renew: keep up the session's lease (On), with this znode as its witness; or no longer.
	Renew struct {
		On   bool
		Node string
	}
	// BeginTerm: this candidate leads.
	BeginTerm struct {
		Term    uint64
		Node    string
		Token   int64
		Session int64
	}
	// EndTerm: take the belief away, at once; → Stopped when the work has returned.
	EndTerm struct{ Why Reason }
	// Backoff: wait, longer with the number of failures. → Retry
	Backoff struct{ Failures int }
	// Refuse: the start failed and is not retried.
	Refuse struct{}
	// Moved: the state changed.
	Moved struct{ From, To State }
	// Report: something that cannot be has happened.
	Report struct{ Text string }
)

func (Create) action()     {}
func (Recover) action()    {}
func (ReadOwn) action()    {}
func (List) action()       {}
func (WatchAhead) action() {}
func (Check) action()      {}
func (Delete) action()     {}
func (Renew) action()      {}
func (BeginTerm) action()  {}
func (EndTerm) action()    {}
func (Backoff) action()    {}
func (Refuse) action()     {}
func (Moved) action()      {}
func (Report) action()     {}
