package electionhttp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// answer is the ResponseWriter of a request that is served in a term. It checks the term
// before any part of next's answer goes out.
type answer struct {
	w         http.ResponseWriter
	candidate *election.Candidate
	term      *election.Term
	outer     http.Header // what outer handlers had set before next was called
	begun     bool        // the term has been checked
	hijacked  bool
	lost      error // why the answer is 502; set by the check
}

func newAnswer(w http.ResponseWriter, c *election.Candidate, term *election.Term) *answer {
	a := &answer{w: w, candidate: c, term: term, outer: w.Header().Clone()}
	w.Header().Set(TokenHeader, token(term))
	return a
}

// gaveUp reports whether why is the error of a term that its own process gave up.
func gaveUp(why error) bool {
	return errors.Is(why, election.ErrClosed) || errors.Is(why, election.ErrResigned) || errors.Is(why, election.ErrUnhealthy)
}

// begin checks the term once. If another process may have led, it answers 502.
func (a *answer) begin() error {
	if a.begun {
		return a.lost
	}
	a.begun = true
	why := lost(a.candidate, a.term)
	if why == nil {
		return nil
	}

	a.lost = fmt.Errorf("%w: %w", election.ErrTermOver, why)
	header := a.w.Header()
	clear(header) // such as a Set-Cookie of next
	maps.Copy(header, a.outer)
	http.Error(a.w, znode.OneLine(fmt.Sprintf("%s is not the leader any more, and may have done it: look before you repeat this (%v)",
		name(a.term.ID()), why)), http.StatusBadGateway)
	return a.lost
}

// end completes the answer when next has returned.
func (a *answer) end() {
	switch {
	case a.hijacked:
	case !a.begun:
		_ = a.begin() // if the term lasts, net/http answers 200
	case a.lost == nil && lost(a.candidate, a.term) != nil:
		panic(http.ErrAbortHandler)
	}
}

func (a *answer) Header() http.Header {
	if a.lost != nil {
		return http.Header{} // so that next can add no trailer to the 502
	}
	return a.w.Header()
}

func (a *answer) WriteHeader(code int) {
	if code < 200 && code != http.StatusSwitchingProtocols { // such as 103 Early Hints: the answer follows
		if a.lost == nil {
			a.w.WriteHeader(code)
		}
		return
	}
	if a.begin() == nil {
		a.w.WriteHeader(code)
	}
}

func (a *answer) Write(b []byte) (int, error) {
	if err := a.begin(); err != nil {
		return 0, err
	}
	return a.w.Write(b)
}

// ReadFrom keeps the fast path for files. An answer that has not begun does not take the
// fast path: reading the first bytes may take long, and the term is checked after that.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if !a.begun || a.lost != nil {
		return io.Copy(struct{ io.Writer }{a}, r)
	}
	return io.Copy(a.w, r)
}

// Flush is for handlers that do not use an [http.ResponseController].
func (a *answer) Flush() { _ = a.FlushError() }

func (a *answer) FlushError() error {
	if err := a.begin(); err != nil {
		return err
	}
	return http.NewResponseController(a.w).Flush()
}

func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := a.begin(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	a.hijacked = err == nil
	return conn, rw, err
}

// Unwrap lets [http.ResponseController] set deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }
