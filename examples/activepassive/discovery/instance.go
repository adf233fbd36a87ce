package discovery

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Instance is Curator's ServiceInstance with the post's InstanceDetails as its payload.
// [NewInstance] makes one. The fields have the order in which Curator writes them, so
// that a listing looks like the post's.
type Instance struct {
	Name    string  `json:"name"`
	ID      string  `json:"id"`
	Address string  `json:"address"`
	Port    int     `json:"port"`
	SSLPort *int    `json:"sslPort"` // null unless the service has one
	Payload Details `json:"payload"`
	// Registered is the time of the registration, in milliseconds since 1970.
	Registered  int64   `json:"registrationTimeUTC"`
	ServiceType string  `json:"serviceType"`
	URISpec     URISpec `json:"uriSpec"`
}

// Details is the payload of an [Instance]. It says whether the instance leads. Class is
// the Java class of the payload: Curator's serializer writes it as "@class", and a Java
// reader makes an object of that class. So it must be the class that the Java services of
// this registry use.
type Details struct {
	Class  string `json:"@class"`
	Leader bool   `json:"leader"`
}

// DetailsClass is the Java class of the payload in the post.
const DetailsClass = "com.thecookiezen.microservices.infrastructure.status.InstanceDetails"

// URISpec is a template for the URI of an instance, split into parts as Curator stores
// it. [ParseURISpec] makes one.
type URISpec struct {
	Parts []URIPart `json:"parts"`
}

// URIPart is one part of a [URISpec]: a text or, if Variable is set, the name of a
// variable.
type URIPart struct {
	Value    string `json:"value"`
	Variable bool   `json:"variable"`
}

// NewInstance returns an instance of the service name at address:port. It has a new
// random UUID and does not lead. Its payload has the class [DetailsClass]. Set
// Payload.Class if your Java services use another one.
func NewInstance(name, address string, port int) Instance {
	return Instance{
		Name: name, ID: newUUID(), Address: address, Port: port,
		Payload:     Details{Class: DetailsClass},
		Registered:  time.Now().UnixMilli(),
		ServiceType: "DYNAMIC", // Curator's word for an ephemeral registration
		URISpec:     ParseURISpec("{scheme}://{address}:{port}"),
	}
}

// host matches what a balancer's configuration may have as a host: a name, an IPv4
// address, or an IPv6 address in brackets.
var host = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$`)

// Decode returns the instance that an entry describes. It returns an error if a balancer
// could not send requests to that instance: because the entry is no JSON, its address is
// no host, or its port is out of range. Check entries with it before use, because anybody
// may write into a registry.
func Decode(e Entry) (Instance, error) {
	var in Instance
	if err := json.Unmarshal([]byte(e.Value), &in); err != nil {
		return Instance{}, fmt.Errorf("%q: %w", e.Value, err)
	}
	return in, in.reachable()
}

// HostPort returns where the instance serves, as "host:port".
func (in Instance) HostPort() string {
	return net.JoinHostPort(strings.Trim(in.Address, "[]"), strconv.Itoa(in.Port))
}

func (in Instance) reachable() error {
	if !host.MatchString(in.Address) {
		return fmt.Errorf("address %q is no host", in.Address)
	}
	if in.Port < 1 || in.Port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", in.Port)
	}
	return nil
}

// check returns an error for an instance or base that could never be registered.
func (in Instance) check(base string) error {
	if !strings.HasPrefix(base, "/") || strings.HasSuffix(base, "/") || strings.Contains(base, "//") {
		return fmt.Errorf("base %q is no path such as /service-discovery", base)
	}
	for what, name := range map[string]string{"name": in.Name, "ID": in.ID} {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return fmt.Errorf("%s %q cannot be the name of a znode", what, name)
		}
	}
	return in.reachable()
}

var variable = regexp.MustCompile(`\{([^{}]*)\}`)

// ParseURISpec splits a template such as "{scheme}://{address}:{port}" into its parts.
func ParseURISpec(s string) URISpec {
	var spec URISpec
	text := func(v string) {
		if v != "" {
			spec.Parts = append(spec.Parts, URIPart{Value: v})
		}
	}
	end := 0
	for _, at := range variable.FindAllStringSubmatchIndex(s, -1) {
		text(s[end:at[0]])
		spec.Parts = append(spec.Parts, URIPart{Value: s[at[2]:at[3]], Variable: true})
		end = at[1]
	}
	text(s[end:])
	return spec
}

// newUUID returns a random UUID (version 4), which is also the default of Curator's
// builder.
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
