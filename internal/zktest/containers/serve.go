package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A request is one line. Requests run concurrently, and each is answered when it is done.
//
//	{"id":7,"method":"start","params":{"container":"1f3a…"}}
//	{"id":7,"method":"cancel"}
type request struct {
	ID     int64           `json:"id"`     // the sender chooses one that no running request has
	Method string          `json:"method"` // one of methods; or cancel, which cancels the request with that ID and has no answer
	Params json.RawMessage `json:"params,omitempty"`
}

// An answer is one line. Each request has exactly one answer, even if it was cancelled.
//
//	{"id":7,"result":{}}
//	{"id":7,"error":"zktest: start container 1f3a…: …"}
type answer struct {
	ID     int64  `json:"id"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// A method takes the params of a request and returns the result.
type method func(ctx context.Context, params json.RawMessage) (any, error)

// with makes a method from a function that takes the params as a struct.
func with[P any](f func(context.Context, P) (any, error)) method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var p P
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, fmt.Errorf("zktest: params: %w", err)
			}
		}
		return f(ctx, p)
	}
}

// server is the state of serve.
type server struct {
	methods map[string]method

	mu      sync.Mutex // guards the following
	out     *json.Encoder
	running map[int64]context.CancelFunc
}

// serve answers requests from in until in ends, or until a line is not a request. It then cancels the requests that
// still run, and returns when all have ended.
func serve(in io.Reader, out io.Writer, methods map[string]method) {
	s := &server{methods: methods, out: json.NewEncoder(out), running: map[int64]context.CancelFunc{}}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	requests := json.NewDecoder(in)
	for {
		var r request
		if err := requests.Decode(&r); err != nil {
			if !errors.Is(err, io.EOF) {
				s.answer(answer{Error: "zktest: not a request: " + err.Error()})
			}
			return
		}
		if r.Method == "cancel" {
			s.cancel(r.ID)
			continue
		}
		one, end := context.WithCancel(ctx)
		s.begin(r.ID, end) // here, so that a cancel in the next line finds it
		work.Go(func() { s.work(one, r) })
	}
}

func (s *server) begin(id int64, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[id] = cancel
}

// cancel does nothing for a request that has just been answered.
func (s *server) cancel(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.running[id]; end != nil {
		end()
	}
}

func (s *server) work(ctx context.Context, r request) {
	m := s.methods[r.Method]
	if m == nil {
		m = func(context.Context, json.RawMessage) (any, error) {
			return nil, fmt.Errorf("zktest: there is no method %q", r.Method)
		}
	}
	a := answer{ID: r.ID}
	var err error
	if a.Result, err = m(ctx, r.Params); err != nil {
		a.Result, a.Error = nil, err.Error()
	}
	s.answer(a)
}

// answer ignores a failed write: it means that the process that reads the answers has ended.
func (s *server) answer(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.running[a.ID]; end != nil {
		end()
		delete(s.running, a.ID)
	}
	_ = s.out.Encode(a)
}
