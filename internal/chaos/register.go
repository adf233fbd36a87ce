package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Register keeps the highest token of each election in a bbolt file, and refuses writes
// with a lower one. It serves the candidates' processes at a port of the loopback
// interface. [OpenRegister] makes one.
//
// Tokens begin again when the ensemble's data is wiped. So the register has generations: it
// refuses all writes of another generation than its own.
type Register struct {
	db  *bolt.DB
	l   net.Listener
	gen atomic.Int64

	work  sync.WaitGroup
	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// registerRequest asks for the generation (no election), or writes.
type registerRequest struct {
	Election string `json:"election,omitempty"`
	Gen      int    `json:"gen,omitempty"`
	Token    int64  `json:"token,omitempty"`
}

type registerAnswer struct {
	Gen      int    `json:"gen"`
	Accepted bool   `json:"accepted"`
	Error    string `json:"error,omitempty"`
}

// OpenRegister makes an empty register in dir. It replaces that of an earlier run.
func OpenRegister(dir string) (*Register, error) {
	file := filepath.Join(dir, "register.db")
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("chaos: register: %w", err)
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("chaos: register: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("chaos: register: %w", err), db.Close())
	}
	r := &Register{db: db, l: l, conns: map[net.Conn]bool{}}
	r.work.Go(r.accept)
	return r, nil
}

// Addr is host:port of the register.
func (r *Register) Addr() string { return r.l.Addr().String() }

// Wipe begins the next generation and returns its number.
func (r *Register) Wipe() int { return int(r.gen.Add(1)) }

// Write writes a token. It reports whether the register accepts it.
func (r *Register) Write(election string, gen int, token int64) (accepted bool, err error) {
	err = r.db.Update(func(tx *bolt.Tx) error {
		if gen != int(r.gen.Load()) {
			return nil
		}
		b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "%d", gen))
		if err != nil {
			return err
		}
		if v := b.Get([]byte(election)); v != nil && token < int64(binary.BigEndian.Uint64(v)) {
			return nil
		}
		accepted = true
		return b.Put([]byte(election), binary.BigEndian.AppendUint64(nil, uint64(token)))
	})
	return accepted && err == nil, err
}

func (r *Register) accept() {
	for {
		conn, err := r.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r.mu.Lock()
		r.conns[conn] = true
		r.mu.Unlock()
		r.work.Go(func() {
			r.serve(conn)
			r.mu.Lock()
			delete(r.conns, conn)
			r.mu.Unlock()
			_ = conn.Close()
		})
	}
}

func (r *Register) serve(conn net.Conn) {
	in, out := json.NewDecoder(bufio.NewReader(conn)), json.NewEncoder(conn)
	for {
		var req registerRequest
		if in.Decode(&req) != nil {
			return
		}
		a := registerAnswer{}
		if req.Election != "" {
			var err error
			if a.Accepted, err = r.Write(req.Election, req.Gen, req.Token); err != nil {
				a.Error = err.Error()
			}
		}
		if a.Gen = int(r.gen.Load()); a.Accepted { // the generation may have changed since
			a.Gen = req.Gen
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

// Close ends all connections.
func (r *Register) Close() error {
	err := r.l.Close()
	r.mu.Lock()
	for conn := range r.conns {
		_ = conn.Close()
	}
	r.mu.Unlock()
	r.work.Wait()
	return errors.Join(err, r.db.Close())
}

// registerClient connects when it is first used. One goroutine at a time may use it.
type registerClient struct {
	addr string
	conn net.Conn
	in   *json.Decoder
}

func (c *registerClient) ask(req registerRequest) (a registerAnswer, err error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, writeLimit)
		if err != nil {
			return a, err
		}
		c.conn, c.in = conn, json.NewDecoder(bufio.NewReader(conn))
	}
	err = c.conn.SetDeadline(time.Now().Add(writeLimit))
	if err == nil {
		err = json.NewEncoder(c.conn).Encode(req)
	}
	if err == nil {
		err = c.in.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil { // an answer that comes late must not be taken for that of the next request
		_ = c.Close()
	}
	return a, err
}

func (c *registerClient) generation() (int, error) {
	a, err := c.ask(registerRequest{})
	return a.Gen, err
}

// errOutdated means that a write was refused because of its generation, whatever its token is.
var errOutdated = errors.New("the register has begun another generation")

func (c *registerClient) write(election string, gen int, token int64) (accepted bool, err error) {
	a, err := c.ask(registerRequest{Election: election, Gen: gen, Token: token})
	if err == nil && a.Gen != gen {
		err = errOutdated
	}
	return a.Accepted, err
}

// Close ends the connection, if there is one.
func (c *registerClient) Close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	return conn.Close()
}
