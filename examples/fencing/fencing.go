// Package fencing has the code of docs/fencing.md: two resources that refuse the writes of
// a former leader, and how a leader writes to them. It is meant to be copied, and its tests
// run it.
package fencing

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/zkelection/election/electionhttp"
)

// Store is an HTTP store of one value. It refuses a write whose token is smaller than the
// largest that it has seen. The zero Store is empty.
type Store struct {
	mu    sync.Mutex
	token int64
	value []byte
}

// ServeHTTP takes a PUT with a token, and a GET.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Write(s.value)
		return
	}

	token, err := strconv.ParseInt(r.Header.Get(electionhttp.TokenHeader), 0, 64)
	if err != nil {
		http.Error(w, "the header "+electionhttp.TokenHeader+" has no token", http.StatusBadRequest)
		return
	}
	value, err := io.ReadAll(r.Body) // before the token is checked: it may take long
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if token < s.token {
		http.Error(w, "a later leader has written", http.StatusConflict)
		return
	}
	s.token, s.value = token, value
}

// Put writes value to the store at url. It returns ErrFenced if a later leader has written,
// and nothing was written then.
func Put(ctx context.Context, url string, token int64, value []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(value))
	if err != nil {
		return err
	}
	req.Header.Set(electionhttp.TokenHeader, fmt.Sprintf("%#x", token))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // it may have been written
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		return ErrFenced
	}
	return fmt.Errorf("the store answered %s", resp.Status)
}

// Set writes the progress of a job. The row must exist, with token 0 at first.
func Set(ctx context.Context, db *sql.DB, job string, progress, token int64) error {
	return one(db.ExecContext(ctx,
		`UPDATE jobs SET progress = ?, token = ? WHERE job = ? AND token <= ?`, progress, token, job, token))
}

// one returns ErrFenced unless a statement has found one row.
func one(result sql.Result, err error) error {
	if err != nil {
		return err // it may have been written
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return err
	case n == 0:
		return ErrFenced
	}
	return nil
}

// ErrFenced means that a later leader has written to the resource. Nothing was written. This
// process does not lead any more, or will learn so soon.
var ErrFenced = errors.New("a later leader has written")

// InTerm runs f in a transaction that is committed only if no later leader has begun one.
// It serves any number of tables. The row of the election must exist, with token 0 at first.
func InTerm(ctx context.Context, db *sql.DB, election string, token int64, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit

	// First, so that the row is locked until the commit and no later leader gets ahead.
	if err := one(tx.ExecContext(ctx,
		`UPDATE fences SET token = ? WHERE election = ? AND token <= ?`, token, election, token)); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
