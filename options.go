package election

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// DefaultSessionTimeout is asked for when WithSessionTimeout is not used. The server may grant another:
// between 2 and 20 of its ticks, 4 s to 40 s by its defaults.
const DefaultSessionTimeout = 10 * time.Second

// ClientOption changes how a Client connects.
type ClientOption func(*clientConfig)

type clientConfig struct {
	timeout  time.Duration
	tls      *tls.Config
	auth     []credential
	dialer   zk.Dialer
	provider zk.HostProvider
	log      *slog.Logger
	used     map[string]bool // options given, for those that NewClient cannot honour
	errs     []error
}

type credential struct {
	scheme string
	secret []byte
}

func (cfg *clientConfig) wrong(format string, args ...any) {
	cfg.errs = append(cfg.errs, fmt.Errorf(format, args...))
}

// authenticate waits for the session and presents the credentials.
func authenticate(ctx context.Context, sess *session.Session, creds []credential) error {
	if err := sess.Wait(ctx); err != nil {
		return err
	}
	for _, c := range creds {
		if err := sess.AddAuth(ctx, c.scheme, c.secret); err != nil {
			return fmt.Errorf("authenticate with scheme %q: %w", c.scheme, err)
		}
	}
	return nil
}

// authentication goes on until it has succeeded, been refused, or the session is closed.
type authentication struct {
	done chan struct{}
	err  error // to be read when done is closed
}

func authenticateLater(sess *session.Session, creds []credential) *authentication {
	a := &authentication{done: make(chan struct{})}
	sess.Go(func() {
		defer close(a.done)
		a.err = authenticate(context.Background(), sess, creds)
	})
	return a
}

// wait returns what has come of it, or ErrClosed or ctx's error when that comes first.
func (a *authentication) wait(ctx context.Context, closed <-chan struct{}) error {
	if a == nil {
		return nil
	}
	select {
	case <-a.done:
		return a.err
	case <-closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WithAuth authenticates the session with ZooKeeper, for instance by the scheme "digest" and the credential
// "user:password"; given several times, all of them. It also changes the default ACL of the candidates' znodes:
// everything for the creator, read for the world. The credential is sent as it is: use TLS with it. It is never
// logged. Default: none.
func WithAuth(scheme string, cred []byte) ClientOption {
	secret := append([]byte(nil), cred...)
	return func(cfg *clientConfig) {
		if scheme == "" {
			cfg.wrong("WithAuth: scheme is empty")
		}
		cfg.auth = append(cfg.auth, credential{scheme, secret})
	}
}

// WithClientLogger sets where the client logs: changes of the session at Info, what the driver says at Debug, a driver
// that does not end at Error. Default: slog.Default.
func WithClientLogger(log *slog.Logger) ClientOption {
	return func(cfg *clientConfig) {
		if log == nil {
			cfg.wrong("WithClientLogger: logger is nil")
			return
		}
		cfg.log = log
	}
}

// WithDialer sets how a connection to one server is made. It must honour its timeout, and what it makes must obey
// deadlines, or a server that never answers holds the client up. Default: TCP, with the host name looked up at every
// call.
func WithDialer(dial zk.Dialer) ClientOption {
	return func(cfg *clientConfig) {
		if dial == nil {
			cfg.wrong("WithDialer: dialer is nil")
		}
		cfg.dialer, cfg.used["WithDialer"] = dial, true
	}
}

// WithHostProvider sets which server is tried next. Default: the servers of the connect string in random order,
// by name, so that every reconnect looks the names up again.
func WithHostProvider(p zk.HostProvider) ClientOption {
	return func(cfg *clientConfig) {
		if v := reflect.ValueOf(p); p == nil || v.Kind() == reflect.Pointer && v.IsNil() {
			cfg.wrong("WithHostProvider: provider is nil")
		}
		cfg.provider, cfg.used["WithHostProvider"] = p, true
	}
}

// WithSessionTimeout sets the session timeout to ask the server for, in whole milliseconds. A shorter one means a
// faster take-over after a crash and less patience with pauses and the network: see "Choosing a session timeout" in
// the package documentation. Default: DefaultSessionTimeout.
func WithSessionTimeout(d time.Duration) ClientOption {
	return func(cfg *clientConfig) {
		if d < time.Millisecond || d > maxTimeout {
			cfg.wrong("WithSessionTimeout: timeout %v is not between 1ms and %v", d, maxTimeout)
		}
		cfg.timeout, cfg.used["WithSessionTimeout"] = d, true
	}
}

// maxTimeout is what fits the protocol's 32-bit count of milliseconds.
const maxTimeout = time.Duration(1<<31-1) * time.Millisecond

// WithTLS encrypts the connection. Where the config names no server, the host's name in the connect string, or what
// WithHostProvider makes of it, is what its certificate must be for. With WithDialer, TLS runs over the connection that
// the dialer makes. Default: no TLS.
func WithTLS(config *tls.Config) ClientOption {
	return func(cfg *clientConfig) {
		if config == nil {
			cfg.wrong("WithTLS: config is nil")
			return
		}
		cfg.tls, cfg.used["WithTLS"] = config.Clone(), true
	}
}

func newClientConfig(opts []ClientOption) *clientConfig {
	cfg := &clientConfig{timeout: DefaultSessionTimeout, log: slog.Default(), used: map[string]bool{}}
	for i, opt := range opts {
		if opt == nil {
			cfg.wrong("client option %d is nil", i)
			continue
		}
		opt(cfg)
	}
	return cfg
}

// dial returns how the session makes its connections; nil stands for plain TCP.
func (cfg *clientConfig) dial() func(context.Context) zk.Dialer {
	if cfg.tls == nil && cfg.dialer == nil {
		return nil
	}
	return func(ctx context.Context) zk.Dialer {
		plain := cfg.dialer
		if plain == nil {
			plain = session.DialTCP(ctx)
		}
		if cfg.tls == nil {
			return plain
		}
		return func(network, address string, timeout time.Duration) (net.Conn, error) {
			return cfg.encrypt(ctx, plain, network, address, timeout)
		}
	}
}

// encrypt dials and shakes hands, both within timeout.
func (cfg *clientConfig) encrypt(ctx context.Context, plain zk.Dialer, network, address string, timeout time.Duration) (net.Conn, error) {
	conn, err := plain(network, address, timeout)
	if err != nil || conn == nil {
		return nil, err
	}
	config := cfg.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, config)
	// The driver gives a dialer one second, which is short for two round trips and a certificate check.
	ctx, cancel := context.WithTimeout(ctx, max(timeout, 3*time.Second))
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", address, err)
	}
	return secure, nil
}

// parseConnectString takes ZooKeeper's "host:port,host:port/chroot" apart.
func parseConnectString(s string) (servers []string, chroot string, err error) {
	if s == "" {
		return nil, "", errors.New("connectString is empty")
	}
	var errs []error
	hosts := s
	if i := strings.IndexByte(s, '/'); i >= 0 {
		hosts, chroot = s[:i], s[i:]
		if chroot == "/" {
			chroot = ""
		} else if e := znode.CheckPath(chroot); e != nil {
			errs = append(errs, fmt.Errorf("connectString %q: chroot %q %w", s, chroot, e))
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		server, e := parseServer(strings.TrimSpace(host))
		if e != nil {
			errs = append(errs, fmt.Errorf("connectString %q: %w", s, e))
		}
		servers = append(servers, server)
	}
	return servers, chroot, errors.Join(errs...)
}

// parseServer fills in the port where it is left out.
func parseServer(s string) (string, error) {
	host, port := s, strconv.Itoa(zk.DefaultPort)
	switch {
	case s == "":
		return "", errors.New("a server is empty")
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		host = s[1 : len(s)-1]
	case strings.Contains(s, ":"):
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("server %q: %w", s, err)
		}
	}
	if host == "" {
		return "", fmt.Errorf("server %q has no host", s)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", fmt.Errorf("server %q has a host with a space or a control character", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("server %q has the unknown port %q", s, port)
	}
	return net.JoinHostPort(host, port), nil
}

// Option changes how one Candidate stands.
type Option func(*config)

type config struct {
	id        string
	acl       []zk.ACL
	listeners []Listener
	log       *slog.Logger
	naming    Naming
	stepDown  bool
	check     func(context.Context) error
	interval  time.Duration
	metrics   Metrics
	maxTerm   time.Duration
	grace     time.Duration
	overrun   func(*Term)
	errs      []error
}

func (cfg *config) wrong(format string, args ...any) {
	cfg.errs = append(cfg.errs, fmt.Errorf(format, args...))
}

// maxID is the size of the largest znode that a server accepts by default (jute.maxbuffer).
const maxID = 1 << 20

// WithACL sets the access control list of the candidate's znode, and of the election path with whatever is missing above
// it, if this candidate makes them: make beforehand what others are to share. The candidate itself needs READ on its
// znode, and READ, CREATE and DELETE on the path. Whoever stands behind it needs READ on its znode, too: ZooKeeper tells
// nobody else that it is gone, so that the next one in line would find out by its own look only, half a session timeout
// later or a whole one. Default: open to the world, as ZooKeeper's own; after WithAuth everything for the creator and
// read for the world.
func WithACL(acl []zk.ACL) Option {
	list := append([]zk.ACL(nil), acl...)
	return func(cfg *config) {
		if len(list) == 0 {
			cfg.wrong("WithACL: acl is empty")
		}
		cfg.acl = list
	}
}

// WithHealthCheck has check called every interval, and before the candidate first stands. While it returns an error,
// panics, or takes longer than interval, the candidate is out of the line; a term ends with ErrUnhealthy. The
// context ends when interval is over or the candidate is closed. Calls never overlap. Default: always healthy.
func WithHealthCheck(interval time.Duration, check func(context.Context) error) Option {
	return func(cfg *config) {
		if interval <= 0 {
			cfg.wrong("WithHealthCheck: interval %v is not positive", interval)
		}
		if check == nil {
			cfg.wrong("WithHealthCheck: check is nil")
		}
		cfg.interval, cfg.check = interval, check
	}
}

// WithID sets the identity that others read from the candidate's znode, best a few bytes. More than 1 MiB is refused, and
// by default a server cuts the connection on a request of 1 MiB, path and ACL included (jute.maxbuffer). Identities
// need not differ: what tells candidates apart is their znode. Default, also for "": the host's name and a random
// suffix.
func WithID(id string) Option {
	return func(cfg *config) {
		if len(id) > maxID {
			cfg.wrong("WithID: id of %d bytes is over 1 MiB", len(id))
		}
		cfg.id = id
	}
}

// WithListener adds a listener from the start on: see Candidate.AddListener. Default: none.
func WithListener(l Listener) Option {
	return func(cfg *config) {
		if l == nil {
			cfg.wrong("WithListener: listener is nil")
			return
		}
		cfg.listeners = append(cfg.listeners, l)
	}
}

// WithLogger sets where the candidate logs: leadership gained and lost at Info; what is retried and needs somebody's
// help, such as a missing permission, at Warn; a panic of the user's code, or what the library takes for its own
// fault, at Error; the rest, other retries too, at Debug. Default: the client's logger.
func WithLogger(log *slog.Logger) Option {
	return func(cfg *config) {
		if log == nil {
			cfg.wrong("WithLogger: logger is nil")
			return
		}
		cfg.log = log
	}
}

// WithMaxTerm has the candidate resign when it has led for d, 10 % more or less, and somebody waits in line; where
// nobody does, it looks again after a tenth of d. It spreads the leaders of many elections over the processes.
// Default: a term lasts as long as it can.
func WithMaxTerm(d time.Duration) Option {
	return func(cfg *config) {
		if d <= 0 {
			cfg.wrong("WithMaxTerm: duration %v is not positive", d)
		}
		cfg.maxTerm = d
	}
}

// WithMetrics has m told what happens to the candidate. Default: nobody is told.
func WithMetrics(m Metrics) Option {
	return func(cfg *config) {
		if m == nil {
			cfg.wrong("WithMetrics: metrics is nil")
			return
		}
		cfg.metrics = m
	}
}

// WithNaming sets how the candidate's znodes are called. It matters only where other software stands in the same
// election, since every candidate reads all names: see Naming. Default: CuratorLatch.
func WithNaming(n Naming) Option {
	return func(cfg *config) {
		if err := n.check(); err != nil {
			cfg.wrong("WithNaming: naming %.200q %w", string(n), err)
		}
		cfg.naming = n
	}
}

// WithOverrun has f called, once a term and on a goroutine of its own, when the function under Run still runs grace
// after its term ended. Until it returns, this candidate neither hands on nor stands again; a service that cannot
// stop its work usually exits here. Default: the work is waited for.
func WithOverrun(grace time.Duration, f func(*Term)) Option {
	return func(cfg *config) {
		if grace <= 0 {
			cfg.wrong("WithOverrun: grace %v is not positive", grace)
		}
		if f == nil {
			cfg.wrong("WithOverrun: function is nil")
		}
		cfg.grace, cfg.overrun = grace, f
	}
}

// WithStepDownOnDisconnect has a term end with ErrDisconnected as soon as the connection is lost, rather than when
// the lease ends; the candidate keeps its place and leads again when it is back in time. It shortens the time in
// which a leader acts on what it cannot know, at the price of a new term for every glitch. Default: off.
func WithStepDownOnDisconnect() Option {
	return func(cfg *config) { cfg.stepDown = true }
}

func newConfig(opts []Option) *config {
	cfg := &config{naming: CuratorLatch}
	for i, opt := range opts {
		if opt == nil {
			cfg.wrong("option %d is nil", i)
			continue
		}
		opt(cfg)
	}
	if cfg.id == "" {
		cfg.id = defaultID()
	}
	return cfg
}

func defaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	u := znode.NewUUID()
	return host + "-" + hex.EncodeToString(u[:4])
}

// Naming is how a candidate's znode is called: a template in which "{uuid}" and "{hex}" stand for a random UUID,
// to which ZooKeeper appends its ten-digit counter. Whatever a candidate is itself called, it reads the line by the
// ten digits at the end of each child's name, so candidates of all namings stand in one line. A template that ends
// in "--" or "_-", or is "-", is refused: its last character would read as the number's sign.
//
// A naming without a UUID works, but then a znode whose making was not confirmed is told from others only by its session
// and ID, and after the whole path was deleted by hand a delete that the network has held up may hit a new znode of the
// same name.
//
// The server's counter ends at 2^31-1 and stays there. Candidates that come then bear one number and stand in the order of
// their znodes' making; with a naming that has no UUID only the first gets a name, and Start returns zk.ErrNodeExists,
// with an explanation, to the others. Delete the path while nobody stands there, and it counts from 0 again.
type Naming string

// The namings of other software. A mixed line is only as safe as its weakest member: see the package documentation.
const (
	// CuratorLatch is that of Apache Curator's LeaderLatch. The default.
	CuratorLatch Naming = "_c_{uuid}-latch-"
	// CuratorSelector is that of Apache Curator's LeaderSelector.
	CuratorSelector Naming = "_c_{uuid}-lock-"
	// KazooLock is that of Kazoo's Lock, and so of its Election.
	KazooLock Naming = "{hex}__lock__"
	// ZooKeeperRecipe is that of LeaderElectionSupport in ZooKeeper's recipes and in ZooKeeperNetEx.
	ZooKeeperRecipe Naming = "n_"
)

func (n Naming) check() error {
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
