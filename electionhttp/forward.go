package electionhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/znode"
)

// ForwardedHeader is the header of a request that [ForwardToLeader] has forwarded. It only
// says that the request must not be forwarded again. Nothing else depends on the header,
// because any client can send it.
const ForwardedHeader = "Election-Forwarded"

type forwardOption func(*forwarder)

func (o forwardOption) forward(f *forwarder) { o(f) }

// WithHTTPS makes [ForwardToLeader] use HTTPS. The leader's certificate must be valid for the
// host in its address. Use [WithTransport] for a certificate authority of your own. Default:
// HTTP.
func WithHTTPS() ForwardOption {
	return forwardOption(func(f *forwarder) { f.scheme = "https" })
}

// WithTransport sets the transport that sends the forwarded requests. Default: a transport
// with the settings of [http.DefaultTransport] and these changes: no proxy, no compression
// of its own, at most two seconds to connect, and up to 100 idle connections.
func WithTransport(t http.RoundTripper) ForwardOption {
	return forwardOption(func(f *forwarder) {
		if t == nil {
			f.wrong.add("WithTransport: the transport is nil")
		}
		f.proxy.Transport = t
	})
}

const (
	dialLimit = 2 * time.Second
	mostIdle  = 100

	// answerGrace is how long the proxy still waits for the answer of a leader that has been
	// replaced. The leader's handlers have returned by then, or the leader is lost.
	answerGrace = time.Second
)

// ForwardToLeader returns a reverse proxy to the leader that f knows. The leader publishes
// its address in its metadata, as host:port, under [DefaultAddressKey] or the key of
// [WithAddressKey]. The proxy is an [httputil.ReverseProxy]: it streams, and supports
// WebSockets and other upgrades.
//
// The request keeps its host, path and query. The proxy adds the client's address to
// X-Forwarded-For, and sets X-Forwarded-Host and X-Forwarded-Proto if they are missing. The
// proxy keeps the values that came in these headers, so the leader should trust them only
// as far as it trusts the clients.
//
// While ZooKeeper cannot be reached, requests go to the last known leader. If that process
// no longer leads, it refuses them.
//
// A request is forwarded only once, and [ForwardedHeader] marks it. If the process that gets
// it does not lead and would forward it again, the answer is 508.
//
// The answer is 503 with Retry-After if nothing was sent. That is so if
//   - no one leads, or the leader is not known;
//   - the leader has no valid address or cannot be reached;
//   - this process is first in line and does not lead yet. [ForwardToLeader] knows that only
//     as the handler of [WithOtherwise].
//
// The answer is 502 without Retry-After if the request was sent and no answer came. The
// leader may then have done it. If another process has become the leader, the proxy waits
// one more second for the answer.
func ForwardToLeader(f *election.Follower, opts ...ForwardOption) http.Handler {
	p := &forwarder{follower: f, key: DefaultAddressKey, scheme: "http"}
	if f == nil {
		p.wrong.add("the follower is nil")
	}
	p.proxy = httputil.ReverseProxy{Rewrite: p.rewrite, ModifyResponse: answered, ErrorHandler: unanswered, Transport: transport()}
	for i, o := range opts {
		if o == nil {
			p.wrong.add("option %d is nil", i)
			continue
		}
		o.forward(p)
	}
	return p.wrong.handler("ForwardToLeader", p)
}

// transport returns the default transport. Its settings suit peers that are near and may be
// dead.
func transport() *http.Transport {
	t := &http.Transport{ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ExpectContinueTimeout: time.Second}
	if def, ok := http.DefaultTransport.(*http.Transport); ok {
		t = def.Clone()
	}
	t.Proxy = nil
	t.DisableCompression = true // the client's Accept-Encoding counts
	t.DialContext = (&net.Dialer{Timeout: dialLimit}).DialContext
	t.MaxIdleConns, t.MaxIdleConnsPerHost = mostIdle, mostIdle
	return t
}

// forwarder is what ForwardToLeader returns.
type forwarder struct {
	follower    *election.Follower
	key, scheme string
	proxy       httputil.ReverseProxy
	wrong       mistakes
}

func (p *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, code, text := p.to(r)
	if h == nil {
		refuse(w, code, text)
		return
	}

	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), hopKey{}, h))
	defer cancel(nil)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { h.sent.Store(true) }})
	go p.watch(ctx, h, cancel)
	p.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// to returns the hop for a request. If the request cannot be forwarded, the hop is nil, and
// code and text are the answer.
func (p *forwarder) to(r *http.Request) (h *hop, code int, text string) {
	leader, err := p.follower.Leader()
	if err != nil && (!errors.Is(err, election.ErrDisconnected) || leader.Path == "") {
		return nil, http.StatusServiceUnavailable, "who leads is not known: " + err.Error()
	}
	who := name(leader.ID)
	if isSelf(r.Context(), leader) {
		return nil, http.StatusServiceUnavailable, who + " is first in line, and does not lead at this moment"
	}
	if len(r.Header.Values(ForwardedHeader)) > 0 {
		return nil, http.StatusLoopDetected,
			fmt.Sprintf("this request was forwarded once already, to a process that does not lead: %s does, as far as is known here", who)
	}

	at := leader.Metadata[p.key]
	if err := checkAddress(at); err != nil {
		return nil, http.StatusServiceUnavailable, fmt.Sprintf("the leader, %s, cannot be reached: %q of its metadata %v", who, p.key, err)
	}
	return &hop{leader: leader, scheme: p.scheme, address: at, answered: make(chan struct{})}, 0, ""
}

// hop is one request on its way to the leader.
type hop struct {
	leader          election.Participant
	scheme, address string
	answered        chan struct{} // closed when the head of the answer has arrived
	sent            atomic.Bool   // on some connection; net/http may repeat a request on another one
}

type hopKey struct{}

func hopOf(ctx context.Context) *hop { return ctx.Value(hopKey{}).(*hop) }

// errReplaced means that a former leader has not answered a request.
var errReplaced = errors.New("another process has become the leader, and no answer came")

// watch gives up a request if its leader has been replaced and does not answer. A leader that
// is frozen or cut off may keep a connection open and never answer.
func (p *forwarder) watch(ctx context.Context, h *hop, giveUp context.CancelCauseFunc) {
	for changed := p.follower.Changed(); !p.replaced(h); changed = p.follower.Changed() {
		select {
		case <-changed:
		case <-h.answered:
			return
		case <-ctx.Done():
			return
		}
	}

	grace := time.NewTimer(answerGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
		giveUp(errReplaced)
	case <-h.answered:
	case <-ctx.Done():
	}
}

// replaced reports whether another participant is known to lead, or none.
func (p *forwarder) replaced(h *hop) bool {
	leader, err := p.follower.Leader()
	return errors.Is(err, election.ErrNoLeader) || err == nil && leader.Token != h.leader.Token
}

// The headers that httputil.ReverseProxy removes before it calls rewrite.
const (
	forwarded      = "Forwarded"
	forwardedFor   = "X-Forwarded-For"
	forwardedHost  = "X-Forwarded-Host"
	forwardedProto = "X-Forwarded-Proto"
)

func (p *forwarder) rewrite(r *httputil.ProxyRequest) {
	h := hopOf(r.In.Context())
	r.Out.URL.Scheme, r.Out.URL.Host = h.scheme, h.address
	r.Out.URL.RawQuery = r.In.URL.RawQuery // the leader reads it as this process would have
	r.Out.Trailer = r.In.Trailer           // the same map: its values come behind the body
	copyHeader(r, forwardedFor)
	r.SetXForwarded()
	for _, key := range []string{forwarded, forwardedHost, forwardedProto} {
		copyHeader(r, key)
	}
	r.Out.Header.Set(ForwardedHeader, "1")
}

func copyHeader(r *httputil.ProxyRequest, key string) {
	if v := r.In.Header.Values(key); len(v) > 0 {
		r.Out.Header[key] = v
	}
}

// answered is called with the head of the leader's answer.
func answered(r *http.Response) error {
	close(hopOf(r.Request.Context()).answered)
	return nil
}

// unanswered answers a request that the leader has not answered.
func unanswered(w http.ResponseWriter, r *http.Request, err error) {
	h := hopOf(r.Context())
	where := fmt.Sprintf("%s at %s", name(h.leader.ID), h.address)
	if unsent(err) && !h.sent.Load() {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("the leader, %s, cannot be reached: %v", where, err))
		return
	}
	http.Error(w, znode.OneLine(fmt.Sprintf("%s has not answered, and may have done it: look before you repeat this (%v)", where, err)),
		http.StatusBadGateway)
}

// unsent reports whether err means that there was no connection, so that this attempt sent nothing.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
