package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium with one page. The test drives it over its debugging
// pipe: Chromium reads messages from file 3 and writes messages to file 4. A message is
// JSON and ends with a zero byte. A pipe needs no port and no library.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	last    int
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.FailNow(t, "Chromium is not installed; on Debian: apt-get install chromium")
	return ""
}

// openBrowser opens url and ends the browser with the test.
func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*limit) // a cleanup closes the browser
	cmd := exec.CommandContext(ctx, findChromium(t), "--headless=new", "--remote-debugging-pipe", "--no-first-run",
		"--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=900,800", "--user-data-dir="+t.TempDir())
	if os.Geteuid() == 0 {
		cmd.Args = append(cmd.Args, "--no-sandbox") // otherwise it refuses to run as root
	}
	toIt, in, err := os.Pipe()
	require.NoError(t, err)
	out, fromIt, err := os.Pipe()
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{toIt, fromIt}
	require.NoError(t, cmd.Start())
	require.NoError(t, errors.Join(toIt.Close(), fromIt.Close()))
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.send("Browser.close", nil)
		_, _ = io.Copy(io.Discard, out) // until its processes have ended
		_ = cmd.Wait()
		_ = errors.Join(in.Close(), out.Close())
		cancel()
	})
	b.open(url)
	return b
}

func (b *browser) open(url string) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.navigate", map[string]any{"url": url}, nil)
}

func (b *browser) send(method string, params any) {
	b.last++
	message, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	if b.session != "" && method != "Browser.close" {
		message, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	}
	if err == nil {
		_, err = b.in.Write(append(message, 0))
	}
	if err != nil {
		b.t.Errorf("%s: %v", method, err)
	}
}

// call sends a command and decodes the answer into result. It skips events.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.send(method, params)
	for {
		message, err := b.out.ReadBytes(0)
		require.NoError(b.t, err, "Chromium has ended during %s", method)
		var answer struct {
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		require.NoError(b.t, json.Unmarshal(message[:len(message)-1], &answer))
		if answer.ID != b.last {
			continue
		}
		require.Nil(b.t, answer.Error, method)
		if result != nil {
			require.NoError(b.t, json.Unmarshal(answer.Result, result))
		}
		return
	}
}

// eval evaluates a JavaScript expression and returns its value, a string.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var result struct {
		Result           struct{ Value string }
		ExceptionDetails any
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &result)
	require.Nil(b.t, result.ExceptionDetails, expression)
	return result.Result.Value
}

// dump returns the present document as HTML, and text returns its visible text.
func (b *browser) dump() string { return b.eval("document.documentElement?.outerHTML ?? ''") }
func (b *browser) text() string { return b.eval("document.body.innerText") }

// widths are the widths of a phone and of a desktop window.
var widths = []int{390, 1280}

// resize makes the window width pixels wide, and high enough to show the whole page.
func (b *browser) resize(width int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride",
		map[string]any{"width": width, "height": 1500, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// overlaps names the texts of the page that lie on other text or reach beyond the window.
const overlaps = `(() => {
	const boxes = [], bad = [];
	const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
	for (let n; n = walk.nextNode();) {
		if (!n.data.trim()) continue;
		const range = document.createRange();
		range.selectNodeContents(n);
		for (const r of range.getClientRects()) boxes.push([n.data.trim(), r]);
	}
	for (const [text, r] of boxes) {
		if (r.left < 0 || r.right > innerWidth) bad.push(text + " leaves the window");
		for (const [other, o] of boxes) // allow three pixels, for descenders
			if (o !== r && text < other && r.left + 3 < o.right && o.left + 3 < r.right && r.top + 3 < o.bottom && o.top + 3 < r.bottom)
				bad.push(text + " lies on " + other);
	}
	if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is wider than the window");
	return bad.join("; ");
})()`

// screenshot checks that the page can be read on a phone and on a desktop. If the
// environment variable SCREENSHOTS names a folder, it leaves light and dark pictures
// there for people to look at.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	for _, width := range widths {
		b.resize(width)
		require.Empty(b.t, b.eval(overlaps), "at %d pixels", width)
		b.picture(fmt.Sprintf("%s-%d", name, width))
	}
}

func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"dark", "light"} {
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{
			map[string]string{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		var shot struct{ Data string }
		b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
		png, err := base64.StdEncoding.DecodeString(shot.Data)
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), png, 0o600))
	}
}
