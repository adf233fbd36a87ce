package electionhttp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// longestHost is how long a name may be in DNS.
const longestHost = 253

// checkAddress returns an error if the address that a leader publishes is not valid. The
// error's text is the end of a sentence. A valid address cannot change the meaning of a URL.
func checkAddress(address string) error {
	if address == "" {
		return errors.New("is missing: publish host:port there, by election.WithMetadata")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("is %.200q, which is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("is %.200q, and its port is no number from 1 to 65535", address)
	}

	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.IsUnspecified(), host == "":
		return fmt.Errorf("is %.200q, where one can listen, but which others cannot reach", address)
	case err == nil && ip.Zone() != "":
		return fmt.Errorf("is %.200q, and its zone means something on one machine only", address)
	case err != nil && !isName(host):
		return fmt.Errorf("is %.200q, and its host is neither a name nor an IP address", address)
	}
	return nil
}

// isName reports whether host can be the name of a host.
func isName(host string) bool {
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}
	return len(host) <= longestHost && !strings.ContainsFunc(host, other)
}
