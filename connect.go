package election

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election/internal/session"
	"github.com/zkelection/election/internal/znode"
)

// Connect opens a session with the ensemble that connectString names, in ZooKeeper's form
// "host:port,host:port/chroot". The port is 2181 if it is left out. The chroot is
// optional, and stands once, behind all servers. Connect returns when there is a session
// and every [WithAuth] is done. ctx has no part in the client's later life. [Open] does not
// wait.
//
// Connect returns
//   - ctx's error when ctx ends first, together with the last problem that a server
//     reported. What Connect began is undone in the background within a second or two;
//   - an error that wraps zk.ErrAuthFailed if ZooKeeper refuses the credentials;
//   - for wrong arguments or options, at once, one error that names them all.
func Connect(ctx context.Context, connectString string, opts ...ClientOption) (*Client, error) {
	if ctx == nil {
		return nil, nilContext("Connect")
	}

	c, err := open(ctx, "Connect", connectString, opts)
	if err != nil {
		return nil, err
	}
	if err := authenticate(ctx, c.sess, c.creds); err != nil {
		c.states.close()
		go c.Close() // takes up to a second, too long for a caller whose ctx has ended
		return nil, fmt.Errorf("election: Connect: %s: %w", znode.Brief(connectString), err)
	}
	return c, nil
}

// nilContext is the error for a context that is missing.
func nilContext(method string) error { return fmt.Errorf("election: %s: ctx is nil", method) }

// NewClient uses a connection that the caller has dialled and continues to own. The
// connection must stay open as long as the client is used, and Close does not close it.
// Its event channel is left alone. Paths are taken as they are, so a chroot does not
// apply. NewClient returns at once, whether or not conn has a session yet.
//
// sessionTimeout is the timeout that the server granted. The driver keeps it to itself,
// but logs it ("authenticated: id=…, timeout=…"). A value that is too small makes leases
// needlessly short. A value that is too large breaks guarantee G1: the candidate would
// consider itself leader for longer than ZooKeeper keeps its znode.
//
// Prefer [Connect]. It reads what passes over its connections, and a client made by
// NewClient has to find that out by requests of its own:
//   - The first candidate leads at the earliest 0.28 of the session timeout after
//     NewClient.
//   - It sends one read every third of the session timeout, as often as the driver pings.
//   - A lost connection is noticed within a tenth of a second, not at once.
//   - Calls that the driver has not answered when the client is closed end only when the
//     driver does.
//
// NewClient cannot protect you from three faults of the driver, which Connect can:
//   - what it does with a write that failed;
//   - a server that accepts and never answers can hold it up for minutes;
//   - a data race between setting watches again and reading replies.
//
// [WithSessionTimeout], [WithTLS], [WithDialer] and [WithHostProvider] do not apply and
// are refused. [WithAuth] authenticates in the background. Start, Await and Run wait for
// that, and return the error if ZooKeeper refuses.
func NewClient(conn *zk.Conn, sessionTimeout time.Duration, opts ...ClientOption) (*Client, error) {
	cfg := newClientConfig(opts)
	if conn == nil {
		cfg.wrong("conn is nil")
	}

	if sessionTimeout < time.Millisecond || sessionTimeout > maxTimeout {
		cfg.wrong("sessionTimeout %v is not between 1ms and %v", sessionTimeout, maxTimeout)
	}

	for _, name := range []string{"WithSessionTimeout", "WithTLS", "WithDialer", "WithHostProvider"} {
		if cfg.used[name] {
			cfg.wrong("%s does not apply to a connection that is already made", name)
		}
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, fmt.Errorf("election: NewClient: %w", err)
	}

	sess := session.Adopt(conn, sessionTimeout, cfg.log)
	c := newClient(sess, logSession(sess, cfg.log), "", sessionTimeout, cfg)
	c.authenticateLater()
	return c, nil
}

// DefaultSessionTimeout is what a client asks for without [WithSessionTimeout]. The
// server may grant another timeout, between 2 and 20 of its ticks: 4 s to 40 s by its
// defaults.
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
	maxBytes int
	trace    Trace
	used     map[string]bool // options given: NewClient refuses some
	errs     []error
}

type credential struct {
	scheme string
	secret []byte
}

func (cfg *clientConfig) wrong(format string, args ...any) {
	cfg.errs = append(cfg.errs, fmt.Errorf(format, args...))
}

func newClientConfig(opts []ClientOption) *clientConfig {
	cfg := &clientConfig{timeout: DefaultSessionTimeout, log: slog.Default(), maxBytes: maxEphemeralBytes, used: map[string]bool{}}
	for i, opt := range opts {
		if opt == nil {
			cfg.wrong("client option %d is nil", i)
			continue
		}
		opt(cfg)
	}
	return cfg
}

// WithAuth authenticates the session with ZooKeeper, for instance by the scheme "digest"
// and the credential "user:password". If it is given several times, all of them apply. It
// also changes the default ACL of the candidates' znodes to everything for the creator
// and read for the world. The credential is sent as it is: use TLS with it. It is never
// logged. Default: none.
//
// ACLs protect znodes and not sessions: see "What is not promised" in the package
// documentation.
//
// The driver has no SASL, so Kerberos and SASL's DIGEST-MD5 are not available. A server
// that insists on SASL (sessionRequireClientSASLAuth, or enforce.auth.schemes with sasl
// only) answers requests with code -124 (SESSIONCLOSEDREQUIRESASLAUTH) and closes the
// connection. Client certificates, by [WithTLS], are an alternative.
func WithAuth(scheme string, cred []byte) ClientOption {
	secret := append([]byte(nil), cred...)
	return func(cfg *clientConfig) {
		if scheme == "" {
			cfg.wrong("WithAuth: scheme is empty")
		}
		cfg.auth = append(cfg.auth, credential{scheme, secret})
	}
}

// WithClientLogger sets where the client logs. It logs changes of the session at Info,
// what the driver says at Debug, and a driver that does not end at Error. At Warn it logs
//   - credentials or watches that a server refuses after a reconnect;
//   - a connection that is lost three times within a session timeout (at least 5 s), with
//     the last reason. This line replaces those about the changes, until nothing has
//     changed for as long;
//   - that there has been no connection for one session timeout, from the start or during
//     an outage, with the last reason. It repeats the line after two more session
//     timeouts, then after four, and so on, up to every ten minutes, and logs the end of
//     the outage at Info.
//
// Default: [slog.Default].
func WithClientLogger(log *slog.Logger) ClientOption {
	return func(cfg *clientConfig) {
		if log == nil {
			cfg.wrong("WithClientLogger: logger is nil")
			return
		}
		cfg.log = log
	}
}

// WithDialer sets how a connection to one server is made. The dialer must honour its
// timeout, and its connections must obey deadlines. Otherwise a server that never answers
// holds the client up.
//
// The default is TCP. It looks the host name up at every call, which may take five
// seconds beyond the timeout, and tries one of the name's addresses, in turn. If the name
// service does not answer, it uses the last addresses that it knows.
func WithDialer(dial zk.Dialer) ClientOption {
	return func(cfg *clientConfig) {
		if dial == nil {
			cfg.wrong("WithDialer: dialer is nil")
		}
		cfg.dialer, cfg.used["WithDialer"] = dial, true
	}
}

// WithHostProvider sets which server is tried next. Default: the servers of the connect
// string, in random order, by name. So every reconnect looks the names up again.
func WithHostProvider(p zk.HostProvider) ClientOption {
	return func(cfg *clientConfig) {
		if v := reflect.ValueOf(p); p == nil || v.Kind() == reflect.Pointer && v.IsNil() {
			cfg.wrong("WithHostProvider: provider is nil")
		}
		cfg.provider, cfg.used["WithHostProvider"] = p, true
	}
}

// WithSessionTimeout sets the session timeout to ask the server for, in whole
// milliseconds. A shorter timeout means a faster take-over after a crash, and less
// patience with pauses and the network: see "Choosing how fast" in the package
// documentation. [WithFastFailover] makes the take-over fast at any session timeout.
// Default: [DefaultSessionTimeout].
func WithSessionTimeout(d time.Duration) ClientOption {
	return func(cfg *clientConfig) {
		if d < time.Millisecond || d > maxTimeout {
			cfg.wrong("WithSessionTimeout: timeout %v is not between 1ms and %v", d, maxTimeout)
		}
		cfg.timeout, cfg.used["WithSessionTimeout"] = d, true
	}
}

// maxTimeout is the largest timeout that fits the protocol's 32-bit count of
// milliseconds.
const maxTimeout = time.Duration(1<<31-1) * time.Millisecond

// WithTLS encrypts the connection. If the config names no server, the certificate must be
// for the host's name in the connect string, or what [WithHostProvider] makes of it. With
// [WithDialer], TLS runs over the dialer's connection. Default: no TLS.
//
// A client certificate in the config authenticates the session by ZooKeeper's scheme
// "x509", but does not change the default ACL of znodes, which stays open to every client
// that may connect. Close it by WithACL(zk.AuthACL(zk.PermAll)), which grants everything
// to the subject of this client's certificate.
func WithTLS(config *tls.Config) ClientOption {
	return func(cfg *clientConfig) {
		if config == nil {
			cfg.wrong("WithTLS: config is nil")
			return
		}
		cfg.tls, cfg.used["WithTLS"] = config.Clone(), true
	}
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

// authenticateLater presents the credentials, if there are any, as soon as there is a session.
func (c *Client) authenticateLater() {
	if len(c.creds) == 0 {
		return
	}
	a := &authentication{done: make(chan struct{})}
	c.pending = a
	session.Loop(c.sess, func() {
		defer close(a.done)
		a.err = authenticate(context.Background(), c.sess, c.creds)
	})
}

// refused returns the error with which ZooKeeper refused the credentials, if it has.
func (a *authentication) refused() error {
	if a == nil {
		return nil
	}
	select {
	case <-a.done:
		return a.err
	default:
		return nil
	}
}

// wait returns the outcome, or ErrClosed or ctx's error if that comes first.
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

// dial returns how the session makes its connections. nil means plain TCP.
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

// encrypt dials within timeout and shakes hands within its own.
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
	// The driver gives a dialer one second, which is short for two round trips and a
	// certificate check. An overloaded server gets more, as it does for its greeting.
	const enough = 3 * time.Second
	limit := session.Allowance(ctx, max(timeout, min(enough, cfg.timeout/3)), max(enough, cfg.timeout))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", address, session.ExplainTLS(err))
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
		} else if e := repeatedChroot(hosts, chroot); e != nil {
			errs = append(errs, fmt.Errorf("connectString %q: %w", s, e))
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

// parseServer adds the port if it is left out.
func parseServer(s string) (string, error) {
	host, port := s, strconv.Itoa(zk.DefaultPort)
	if err := otherSeparator(s); err != nil {
		return "", err
	}

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

	if strings.ContainsAny(host, "[]") {
		return "", fmt.Errorf("server %q has a bracket without its partner", s)
	}

	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("server %q has the unknown port %q", s, port)
	}
	return net.JoinHostPort(host, port), nil
}

// Separators that people write between servers. ZooKeeper only knows the comma
// (ConnectStringParser).
const (
	comma           = ","
	otherSeparators = ";| \t\r\n"
)

// anotherServer finds, in a chroot, a separator with what looks like a server behind it.
// A comma alone is enough: two orders of the same servers, each with its chroot, would
// otherwise be two chroots, and two leaders. The other characters may stand in a znode's
// name.
var anotherServer = regexp.MustCompile(`,|[;|\s]\s*[^/;|\s]*:[0-9]+(/|$|[;|\s])`)

// repeatedChroot returns an error if servers follow the chroot of a connect string, and
// writes the string that was meant.
func repeatedChroot(hosts, chroot string) error {
	if !anotherServer.MatchString(chroot) {
		return nil
	}

	isSeparator := func(r rune) bool { return strings.ContainsRune(comma+otherSeparators, r) }
	parts := strings.FieldsFunc(chroot, isSeparator)
	servers := []string{hosts}

	for _, part := range parts[1:] {
		if server, _, _ := strings.Cut(part, "/"); server != "" {
			servers = append(servers, server)
		}
	}

	meant := strings.Join(servers, comma)
	if parts[0] != "/" {
		meant += parts[0]
	}
	return fmt.Errorf("chroot %q has a server in it: the chroot stands once, at the end, behind all servers; is %q meant?", chroot, meant)
}

// otherSeparator returns an error if a server is several, parted by something else than a
// comma.
func otherSeparator(server string) error {
	if i := strings.IndexAny(server, otherSeparators); i >= 0 {
		return fmt.Errorf("server %q has a host with a %q: servers are separated by commas", server, server[i])
	}
	return nil
}
