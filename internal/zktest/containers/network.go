package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// The peers' addresses are fixed, since ZooKeeper and Java remember them, and
// an engine gives fixed ones only in a subnet that was asked for. It is taken
// from the range that RFC 2544 keeps for tests of network gear, 198.18.0.0/15:
// no host here has a route to it that a test could hide.
const (
	testBits    = 15
	subnetTries = 30
)

// randomSubnet returns a random part of that range, with a prefix of that many bits.
func randomSubnet(bits int) netip.Prefix {
	n := rand.IntN(1<<(bits-testBits)) << (32 - bits)
	addr := netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)})
	return netip.PrefixFrom(addr, bits)
}

// makeNetwork tries subnets until one is free. An internal network has no way
// out, so that the servers' default route stays on the network of their clients.
func (e *engine) makeNetwork(ctx context.Context, bits int) (id string, subnet netip.Prefix, err error) {
	if bits <= testBits || bits > 30 {
		return "", netip.Prefix{}, fmt.Errorf("zktest: network of %d bits: want %d to 30", bits, testBits+1)
	}
	var errs []error
	for range subnetTries {
		subnet = randomSubnet(bits)
		name := fmt.Sprintf("zktest-%016x", rand.Uint64())
		res, err := e.cli.NetworkCreate(ctx, name, client.NetworkCreateOptions{
			Driver:   "bridge",
			Internal: true,
			Labels:   ownerLabels(),
			IPAM:     &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}},
		})
		if err == nil {
			return res.ID, subnet, nil
		}
		errs = append(errs, err)
		if !strings.Contains(err.Error(), "overlap") {
			break
		}
	}
	return "", netip.Prefix{}, fmt.Errorf("zktest: network for peers: %w", errors.Join(errs...))
}

func (e *engine) join(ctx context.Context, m member) error {
	_, err := e.cli.NetworkConnect(ctx, m.Network, client.NetworkConnectOptions{
		Container:      m.Container,
		EndpointConfig: &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: m.Address}},
	})
	return wrap("join to its peers", m.Container, err)
}

func (e *engine) cut(ctx context.Context, m member) error {
	_, err := e.cli.NetworkDisconnect(ctx, m.Network, client.NetworkDisconnectOptions{Container: m.Container})
	return wrap("cut the peers of", m.Container, err)
}

func (e *engine) removeNetwork(ctx context.Context, id string) error {
	if _, err := e.cli.NetworkRemove(ctx, id, client.NetworkRemoveOptions{}); err != nil {
		return fmt.Errorf("zktest: remove network %.12s: %w", id, err)
	}
	return nil
}
