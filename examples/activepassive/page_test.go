package main

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
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
	rows     = regexp.MustCompile(`<tr><td>(\d+)</td><td>(node-\d)(.*?)</td>`)
)

func first(re *regexp.Regexp, dom string) string {
	m := re.FindStringSubmatch(dom)
	if m == nil {
		return ""
	}
	return m[1]
}

// shows checks what the page says against who answers writes, and how many stand.
func shows(dom string, leader answer, standing int) error {
	n, err := strconv.ParseInt(leader.token, 10, 64)
	if err != nil {
		return err
	}
	hex := fmt.Sprintf("%#x", n)
	line := rows.FindAllStringSubmatch(dom, -1)
	switch {
	case first(headline, dom) != leader.body+" leads":
		return fmt.Errorf("headline %q, want %s", first(headline, dom), leader.body)
	case first(token, dom) != hex:
		return fmt.Errorf("token %q, want %s", first(token, dom), hex)
	case first(link, dom) != "live":
		return fmt.Errorf("link is %q", first(link, dom))
	case !regexp.MustCompile(`^\d\d:\d\d:\d\d$`).MatchString(first(since, dom)):
		return fmt.Errorf("since %q", first(since, dom))
	case len(line) != standing:
		return fmt.Errorf("%d in line, want %d", len(line), standing)
	case line[0][2] != leader.body || !strings.Contains(line[0][3], "leads"):
		return fmt.Errorf("first in line is %q", line[0])
	}
	return nil
}

func TestPageShowsWhoLeadsLive(t *testing.T) {
	s := startSystem(t, ownRoot(t), brief)
	before := s.must(http.MethodPost, hello)
	// The page of a node that stays, so that what changes is what it shows; and one through NGINX, which has to find
	// another node when its own is the one that is killed.
	stays := s.Nodes[slices.IndexFunc(s.Nodes, func(n *cluster.Node) bool { return n.ID != before.body })]
	direct, balanced := openBrowser(t, "http://"+stays.Addr+"/"), openBrowser(t, s.URL+"/")
	for _, b := range []*browser{direct, balanced} {
		s.await(limit, "page", func() error { return shows(b.dump(), before, 3) })
	}
	require.Contains(t, direct.text(), "Page of "+stays.ID)
	direct.screenshot("1-led")

	require.NoError(t, s.node(before.body).Kill())
	s.settle("new writer", func() error { return s.out(s.node(before.body)) })
	after := s.must(http.MethodPost, hello)
	for _, b := range []*browser{direct, balanced} {
		s.await(limit, "page of the new leader", func() error { return shows(b.dump(), after, 2) })
	}
	log := direct.eval("document.getElementById('log').innerText")
	require.Regexp(t, after.body+" leads(.|\n)*"+before.body+" leads", log, "the latest first")
	direct.screenshot("2-after-kill")

	require.NoError(t, s.node(stays.ID).Terminate())
	s.await(limit, "loss of the link", func() error {
		if state := first(link, direct.dump()); state != "lost" {
			return fmt.Errorf("link is %q", state)
		}
		return nil
	})
	direct.screenshot("3-link-lost")
}
