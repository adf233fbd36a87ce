package electionhttp

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/bound"
)

// TokenHeader is the header with the fencing token of the term in which a request is served.
// The token is a hexadecimal number such as 0x1f. [RequireLeader] sets the header in the
// request that it passes on and in the answer.
const TokenHeader = "Fencing-Token"

// RequireOption changes what [RequireLeader] returns.
type RequireOption interface{ require(*leaderOnly) }

// ForwardOption changes what [ForwardToLeader] returns.
type ForwardOption interface{ forward(*forwarder) }

// Option is for both [RequireLeader] and [ForwardToLeader].
type Option interface {
	RequireOption
	ForwardOption
}

type requireOption func(*leaderOnly)

func (o requireOption) require(l *leaderOnly) { o(l) }

// WithOtherwise sets the handler for requests that come while this process does not lead. It
// is usually [ForwardToLeader]. Default: the answer is 503.
func WithOtherwise(h http.Handler) RequireOption {
	return requireOption(func(l *leaderOnly) {
		if h == nil {
			l.wrong.add("WithOtherwise: the handler is nil")
		}
		l.otherwise = h
	})
}

// WithFollower makes the answer 503 name the leader that f knows, and its address. Default:
// only the candidate that is second in line can name the leader.
func WithFollower(f *election.Follower) RequireOption {
	return requireOption(func(l *leaderOnly) {
		if f == nil {
			l.wrong.add("WithFollower: the follower is nil")
		}
		l.follower = f
	})
}

// DefaultAddressKey is the key of [election.WithMetadata] under which a leader publishes
// its address, as host:port.
const DefaultAddressKey = "address"

// WithAddressKey sets the key of the metadata under which a leader publishes its address.
// Default: [DefaultAddressKey].
func WithAddressKey(key string) Option { return addressKey(key) }

type addressKey string

func (k addressKey) require(l *leaderOnly) { k.set(&l.key, &l.wrong) }
func (k addressKey) forward(f *forwarder)  { k.set(&f.key, &f.wrong) }

func (k addressKey) set(key *string, wrong *mistakes) {
	if k == "" {
		wrong.add("WithAddressKey: the key is empty")
	}
	*key = string(k)
}

// RequireLeader returns a handler that passes requests on to next while c leads. Each request
// holds the term ([election.Term.Hold]). So when the term ends by a hand-over, no one else
// leads before next has returned.
//
// next finds the term in the request's context, by [TermFrom]. The context ends with the
// term or with the request, whichever is first. It has the request's values and deadline.
// The token is in [TokenHeader] of the request, in place of any that the client sent, and in
// [TokenHeader] of the answer.
//
// If c does not lead, the answer is 503 with Retry-After. It names the leader if the handler
// knows it without asking ZooKeeper: see [WithFollower]. [WithOtherwise] sets another
// handler.
//
// # If the term ends while next runs
//
// RequireLeader checks the term when next begins its answer: at next's first call of
// WriteHeader, Write, Flush or Hijack, or when next returns.
//
//   - If the term lasts, the answer goes out.
//   - If this process gave the term up (Resign, Shutdown, Close of the candidate,
//     [election.WithMaxTerm], a failing health check), the answer goes out while the lease
//     is good. The hold keeps the znode in place, so no one else has led. The lease is not
//     renewed after the term, so it lasts for at most a third of the session timeout.
//   - Otherwise another process may have led. The answer is then 502 in place of next's,
//     without Retry-After and without a token. next's calls of Write return the reason.
//
// An answer that has begun cannot be replaced. If another process may lead before next has
// returned, RequireLeader panics with [http.ErrAbortHandler], and net/http breaks off the
// connection. Otherwise a client could mistake an answer that next has cut short, because
// its context ended, for a complete one. RequireLeader leaves a connection alone that next
// has hijacked.
//
// Any time may pass between the check of the term and the moment at which the client reads
// the answer. Only a resource that checks the token, or [election.Term.Guard], protects
// what is written.
//
// # What next must not do
//
// next must not wait for ever, because a hand-over waits for next. It should watch its
// context. Reads of the request's body and writes of the answer do not end with the
// context, and a client may make them as slow as it likes. So set ReadTimeout and
// WriteTimeout of [http.Server], or set deadlines with [http.ResponseController].
func RequireLeader(c *election.Candidate, next http.Handler, opts ...RequireOption) http.Handler {
	l := &leaderOnly{candidate: c, next: next, key: DefaultAddressKey}
	if c == nil {
		l.wrong.add("the candidate is nil")
	}
	if next == nil {
		l.wrong.add("next is nil")
	}
	for i, o := range opts {
		if o == nil {
			l.wrong.add("option %d is nil", i)
			continue
		}
		o.require(l)
	}
	return l.wrong.handler("RequireLeader", l)
}

// leaderOnly is what RequireLeader returns.
type leaderOnly struct {
	candidate *election.Candidate
	next      http.Handler
	otherwise http.Handler
	follower  *election.Follower
	key       string
	wrong     mistakes
}

func (l *leaderOnly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	term := l.candidate.Term()
	release, err := term.Hold()
	if err != nil {
		l.elsewhere(w, r)
		return
	}
	defer release()

	a := newAnswer(w, l.candidate, term)
	r, done := within(r, term)
	defer done()
	l.next.ServeHTTP(a, r)
	a.end()
}

// within returns the request that next gets. Call done when next has returned.
func within(r *http.Request, term *election.Term) (inTerm *http.Request, done func()) {
	ctx, done := bound.Context(term.Context(), r.Context())
	r = r.WithContext(context.WithValue(ctx, termKey{}, term))
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(TokenHeader, token(term))
	keep(r.Header, TokenHeader)
	return r, done
}

// keep takes a header's name out of Connection, which a client may have put there: for a
// proxy, such as next may be, it says that the header is not to be passed on.
func keep(h http.Header, key string) {
	const connection = "Connection"
	var others []string
	named := false
	for part := range strings.SplitSeq(strings.Join(h[connection], ","), ",") {
		part = strings.TrimSpace(part)
		is := strings.EqualFold(part, key)
		if named = named || is; !is && part != "" {
			others = append(others, part)
		}
	}
	switch {
	case !named:
	case len(others) == 0:
		h.Del(connection)
	default:
		h.Set(connection, strings.Join(others, ", "))
	}
}

func token(term *election.Term) string { return fmt.Sprintf("%#x", uint64(term.Token())) }

type termKey struct{}

// TermFrom returns the term in which a request is served. ctx is the request's context.
// TermFrom returns nil if the request did not come through [RequireLeader].
func TermFrom(ctx context.Context) *election.Term {
	term, _ := ctx.Value(termKey{}).(*election.Term)
	return term
}

// elsewhere answers a request that comes while this process does not lead.
func (l *leaderOnly) elsewhere(w http.ResponseWriter, r *http.Request) {
	if l.otherwise != nil {
		l.otherwise.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), selfKey{}, l.candidate)))
		return
	}
	own := l.candidate.Status()
	says := name(own.ID) + " is not the leader"
	if leader, known := l.leader(own); known && leader.Path != own.Znode {
		says += fmt.Sprintf(": %s is", name(leader.ID))
		if at := leader.Metadata[l.key]; at != "" {
			says += ", at " + name(at)
		}
	}
	refuse(w, http.StatusServiceUnavailable, says)
}

// leader returns who leads, if that is known without a request to ZooKeeper.
func (l *leaderOnly) leader(own election.Status) (leader election.Participant, known bool) {
	if l.follower != nil {
		leader, err := l.follower.Leader()
		return leader, err == nil
	}
	if own.Ahead != nil && own.Connected {
		return *own.Ahead, own.Ahead.Leader
	}
	return election.Participant{}, false
}

// selfKey finds the candidate of this process in the context of a request that
// RequireLeader has passed on to another handler.
type selfKey struct{}

// isSelf reports whether leader is the candidate of the RequireLeader that has passed the
// request on.
func isSelf(ctx context.Context, leader election.Participant) bool {
	c, ok := ctx.Value(selfKey{}).(*election.Candidate)
	return ok && c.Status().Znode == leader.Path
}

// lost returns why another process may lead by now, or nil if none can.
func lost(c *election.Candidate, term *election.Term) error {
	why := term.Err()
	if why == nil || gaveUp(why) && keepsZnode(c, term) {
		return nil
	}
	return why
}

// keepsZnode reports whether the znode of a term certainly exists. The term is over and still
// held.
func keepsZnode(c *election.Candidate, term *election.Term) bool {
	s := c.Status()
	if s.Token != term.Token() { // the znode was deleted
		return false
	}
	return before(time.Now(), s.LeaseEnd) // it is zero as soon as the client ends its session
}

// before compares by both clocks, as the lease does: the monotonic clock stops while a
// machine sleeps, and the wall clock may be set back.
func before(now, end time.Time) bool { return now.Before(end) && now.Round(0).Before(end.Round(0)) }
