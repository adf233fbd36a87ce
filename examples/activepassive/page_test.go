package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/examples/activepassive/internal/cluster"
)

var (
	headline = regexp.MustCompile(`<h1 id="headline">([^<]*)</h1>`)
	token    = regexp.MustCompile(`<code id="token">([^<]*)</code>`)
	since    = regexp.MustCompile(`<dd id="since">([^<]*)</dd>`)
	link     = regexp.MustCompile(`<span id="link" class="(\w+)">`)
	line     = regexp.MustCompile(`<ol id="line"[^>]*>(.*?)</ol>`)
	nodes    = regexp.MustCompile(`<ol id="nodes"[^>]*>(.*?)</ol>`)
	rows     = regexp.MustCompile(`data-name="(node-\d)">(.*?)</li>`)
)

func first(re *regexp.Regexp, dom string) string {
	m := re.FindStringSubmatch(dom)
	if m == nil {
		return ""
	}
	return m[1]
}

// shows compares what the page says with the node that answers writes, and with the
// number of nodes in line.
func shows(dom string, leader answer, standing int) error {
	line := rows.FindAllStringSubmatch(first(line, dom), -1)
	switch {
	case first(headline, dom) != leader.body+" leads":
		return fmt.Errorf("headline %q, want %s", first(headline, dom), leader.body)
	case first(token, dom) != leader.token:
		return fmt.Errorf("token %q, want %s", first(token, dom), leader.token)
	case first(link, dom) != "live":
		return fmt.Errorf("link is %q", first(link, dom))
	case !regexp.MustCompile(`^\d\d:\d\d:\d\d$`).MatchString(first(since, dom)):
		return fmt.Errorf("since %q", first(since, dom))
	case len(line) != standing:
		return fmt.Errorf("%d in line, want %d", len(line), standing)
	case line[0][1] != leader.body || !strings.Contains(line[0][2], "leads"):
		return fmt.Errorf("first in line is %q", line[0])
	}
	return showsNodes(dom, leader.body, standing)
}

// showsNodes checks who gets reads and writes.
func showsNodes(dom, leader string, standing int) error {
	all := rows.FindAllStringSubmatch(first(nodes, dom), -1)
	if len(all) != standing {
		return fmt.Errorf("%d nodes, want %d", len(all), standing)
	}
	for _, n := range all {
		if !strings.Contains(n[2], ">reads<") || strings.Contains(n[2], ">writes<") != (n[1] == leader) || strings.Contains(n[2], "not answering") {
			return fmt.Errorf("%s leads, and the page has %q", leader, n)
		}
	}
	return nil
}

// sends presses the button and returns what the page says about the answers.
func sends(s *system, b *browser) (text string) {
	s.t.Helper()
	b.eval("document.getElementById('send').click(), ''")
	s.await(limit, "answers", func() error {
		if b.eval("String(document.getElementById('send').disabled)") == "true" {
			return errors.New("still sending")
		}
		text = b.eval("document.getElementById('answers').innerText")
		return nil
	})
	return text
}

// requireAnswersToTheButton presses the page's button, through NGINX and at the node stays,
// which does not lead.
func requireAnswersToTheButton(t *testing.T, s *system, leader, stays string, direct, balanced *browser) {
	t.Helper()
	three := leader + ", " + leader + ", " + leader
	answers := sends(s, balanced)
	require.Contains(t, answers, "3 writes answered: "+three)
	require.Contains(t, answers, "6 reads answered: ")
	for _, n := range s.Nodes {
		require.Contains(t, answers, n.ID)
	}
	balanced.screenshot("1-led")
	answers = sends(s, direct)
	require.Contains(t, answers, "3 writes not answered: 503 "+stays+" is not the leader")
	require.Contains(t, answers, "Open NGINX's address")
	direct.screenshot("2-one-node")
}

func TestPageShowsWhoLeadsLive(t *testing.T) {
	s := startSystemWith(t, cluster.Config{ZooKeeper: ownRoot(t), Nodes: 3, Session: patient, Linger: brief})
	before := s.must(http.MethodPost, hello)
	// One page comes from a node that is not killed, so that only what it shows changes.
	// The other comes through NGINX, and has to find another node if its own is killed.
	stays := s.Nodes[slices.IndexFunc(s.Nodes, func(n *cluster.Node) bool { return n.ID != before.body })]
	direct, balanced := openBrowser(t, "http://"+stays.Addr+"/"), openBrowser(t, s.URL+"/")
	for _, b := range []*browser{direct, balanced} {
		s.await(limit, "page", func() error { return shows(b.dump(), before, 3) })
	}
	require.Contains(t, direct.text(), "Page of "+stays.ID)
	requireAnswersToTheButton(t, s, before.body, stays.ID, direct, balanced)

	require.NoError(t, s.node(before.body).Kill())
	for _, b := range []*browser{direct, balanced} { // in the seconds before the session times out
		s.await(limit, "sign of the silent leader", func() error {
			if h := first(headline, b.dump()); h != before.body+" is not answering" {
				return fmt.Errorf("headline %q", h)
			}
			return nil
		})
	}
	direct.screenshot("3-silent")
	s.settle("new writer", func() error { return s.out(s.node(before.body)) })
	after := s.must(http.MethodPost, hello)
	for _, b := range []*browser{direct, balanced} {
		s.await(limit, "page of the new leader", func() error { return shows(b.dump(), after, 2) })
	}
	log := direct.eval("document.getElementById('log').innerText")
	require.Equal(t, []string{after.body + " leads", before.body + " is not answering", before.body + " leads"},
		regexp.MustCompile(`node-\d (leads|is not answering)`).FindAllString(log, -1), "the latest first")
	direct.screenshot("4-after-kill")

	back, err := s.Revive()
	require.NoError(t, err)
	require.Len(t, back, 1)
	require.Equal(t, before.body, back[0].Name)
	for _, b := range []*browser{direct, balanced} {
		s.await(limit, "page with the node that is back", func() error { return shows(b.dump(), after, 3) })
	}
	direct.screenshot("5-back")

	require.NoError(t, s.node(stays.ID).Terminate())
	s.await(limit, "loss of the link", func() error {
		if state := first(link, direct.dump()); state != "lost" {
			return fmt.Errorf("link is %q", state)
		}
		return nil
	})
	direct.screenshot("6-link-lost")
}
