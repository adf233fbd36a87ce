package discovery

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// Instance is Curator's ServiceInstance with the post's InstanceDetails as its payload. The fields stand in the
// order in which Curator writes them, so that a listing looks like the post's.
type Instance struct {
	Name    string  `json:"name"`
	ID      string  `json:"id"`
	Address string  `json:"address"`
	Port    int     `json:"port"`
	SSLPort *int    `json:"sslPort"` // null unless the service has one
	Payload Details `json:"payload"`
	// Registered is in milliseconds since 1970.
	Registered  int64   `json:"registrationTimeUTC"`
	ServiceType string  `json:"serviceType"`
	URISpec     URISpec `json:"uriSpec"`
}

// Details is the payload. Curator's serializer names the Java class of a payload in "@class", and a Java reader
// makes an object of that class, so it has to be the one that Java services of this registry use.
type Details struct {
	Class  string `json:"@class"`
	Leader bool   `json:"leader"`
}

// DetailsClass is the payload's class in the post.
const DetailsClass = "com.thecookiezen.microservices.infrastructure.status.InstanceDetails"

// URISpec is a template for an instance's address, taken apart as Curator stores it.
type URISpec struct {
	Parts []URIPart `json:"parts"`
}

// URIPart is a piece of text, or a variable's name.
type URIPart struct {
	Value    string `json:"value"`
	Variable bool   `json:"variable"`
}

// NewInstance describes a service at address:port that does not lead, with an identity of its own.
func NewInstance(name, address string, port int) Instance {
	return Instance{
		Name: name, ID: newUUID(), Address: address, Port: port,
		Payload:     Details{Class: DetailsClass},
		Registered:  time.Now().UnixMilli(),
		ServiceType: "DYNAMIC", // Curator's word for an ephemeral registration
		URISpec:     ParseURISpec("{scheme}://{address}:{port}"),
	}
}

// host is what may stand for one in a balancer's configuration: a name, or an address of either kind.
var host = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$`)

// Check says why an entry describes no instance that a balancer could send a request to; nil where it does.
func Check(e Entry) error {
	var in Instance
	if err := json.Unmarshal([]byte(e.Value), &in); err != nil {
		return fmt.Errorf("%q: %w", e.Value, err)
	}
	if !host.MatchString(in.Address) {
		return fmt.Errorf("address %q is no host", in.Address)
	}
	if in.Port < 1 || in.Port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", in.Port)
	}
	return nil
}

var variable = regexp.MustCompile(`\{([^{}]*)\}`)

// ParseURISpec takes a template such as "{scheme}://{address}:{port}" apart.
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

// newUUID is a random UUID (version 4), as Curator's builder takes by default.
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
