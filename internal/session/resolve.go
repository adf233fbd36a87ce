package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// DialTCP returns a dialer with the driver's timeout, which also gives up when ctx ends.
// Each call looks the host name up and tries one of its addresses, in turn. If ctx is the
// context that [Config].Dialer was called with, all dialers of the session share what is
// known of a name.
func DialTCP(ctx context.Context) zk.Dialer {
	b := newBook()
	if of, ok := ctx.Value(sessionKey{}).(ofSession); ok {
		b = of.book
	}
	return b.dialer(ctx, func(network, address string, timeout time.Duration) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout}
		return d.DialContext(ctx, network, address)
	})
}

// sessionKey is the context key of ofSession.
type sessionKey struct{}

// ofSession is what a dialer shares with its session.
type ofSession struct {
	book      *book
	allowance *allowance
}

const (
	// lookUpLimit bounds a look-up. It does not count against the timeout of the dial,
	// which is 1 s (conn.go, Connect). A resolver asks a second name server after 5 s
	// (resolv.conf(5), timeout).
	lookUpLimit = 5 * time.Second
	// lookUpPatience bounds the wait for a look-up if addresses are known already. The
	// look-up goes on, and the next attempt uses its result.
	lookUpPatience = time.Second
)

// book keeps the addresses of host names. A name can stand for several servers, or for
// one server with some dead addresses. So each attempt takes one address, the one that
// was tried longest ago. net.Dialer would start with the first address each time. If a
// server there accepts and never greets, no other would ever be tried.
type book struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	lookUps sync.WaitGroup

	mu    sync.Mutex // guards the following
	names map[string]*name
	stay  bool // the next attempt takes the address of the last one again
}

// name is one host name.
type name struct {
	known   []netip.Addr  // from the last look-up that found any; the next to try comes first
	looking chan struct{} // closed when the present look-up ends; nil while there is none
	err     error         // of the last look-up
}

func newBook() *book {
	return &book{names: map[string]*name{}, resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// dialer wraps dial, which takes addresses, into a dialer that takes names.
func (b *book) dialer(ctx context.Context, dial zk.Dialer) zk.Dialer {
	return func(network, address string, timeout time.Duration) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || isLiteral(host) {
			return dial(network, address, timeout)
		}
		ip, err := b.next(ctx, host)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		conn, err := dial(network, net.JoinHostPort(ip.String(), port), timeout)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", address, err)
		}
		return conn, nil
	}
}

func isLiteral(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// next looks the name up and returns the address that is next in turn. If the look-up
// fails or takes too long, next uses the addresses that were found before.
func (b *book) next(ctx context.Context, host string) (netip.Addr, error) {
	found, limit := b.lookUp(ctx, host)
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-found:
	case <-late.C:
	case <-ctx.Done():
		return netip.Addr{}, ctx.Err()
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	n, stay := b.names[host], b.stay
	b.stay = false
	switch last := len(n.known) - 1; {
	case last >= 0 && stay:
		return n.known[last], nil
	case last >= 0:
		n.known = append(n.known[1:], n.known[0])
		return n.known[last], nil
	case n.err != nil:
		return netip.Addr{}, n.err
	}
	return netip.Addr{}, &net.DNSError{Err: fmt.Sprintf("no answer within %v", lookUpLimit),
		Name: host, IsTimeout: true}
}

// lookUp starts a look-up of the name unless one is under way. found is closed when the
// look-up ends. limit is how long to wait for that.
func (b *book) lookUp(ctx context.Context, host string) (found <-chan struct{}, limit time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[host]
	if n == nil {
		n = new(name)
		b.names[host] = n
	}
	if n.looking == nil {
		n.looking = make(chan struct{})
		b.lookUps.Go(func() { b.ask(ctx, host, n) })
	}
	if len(n.known) > 0 {
		return n.looking, lookUpPatience
	}
	return n.looking, lookUpLimit
}

// ask runs one look-up and stores its result.
func (b *book) ask(ctx context.Context, host string, n *name) {
	ctx, cancel := context.WithTimeout(ctx, lookUpLimit)
	defer cancel()
	all, err := b.resolve(ctx, host)
	if err == nil && len(all) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	close(n.looking)
	n.looking = nil
	if n.err = err; err == nil {
		n.merge(all)
	}
}

// merge takes the result of a look-up. New addresses are tried first, in random order, so
// that clients of one name start at different ones. Known addresses keep their turn, and
// missing ones are dropped.
func (n *name) merge(all []netip.Addr) {
	for i, a := range all {
		all[i] = a.Unmap()
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)

	n.known = slices.DeleteFunc(n.known, func(a netip.Addr) bool { return !slices.Contains(all, a) })
	fresh := slices.DeleteFunc(all, func(a netip.Addr) bool { return slices.Contains(n.known, a) })
	rand.Shuffle(len(fresh), func(i, j int) { fresh[i], fresh[j] = fresh[j], fresh[i] })
	n.known = append(fresh, n.known...)
}

// again makes the next attempt take the address of the last one.
func (b *book) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stay = true
}

// most returns the largest number of addresses that is known of a name, at least 1. Every
// address has been tried once all servers were offered that often.
func (b *book) most() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := 1
	for _, n := range b.names {
		most = max(most, len(n.known))
	}
	return most
}
