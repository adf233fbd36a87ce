package show

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/cmd/elect/internal/cli"
	"github.com/zkelection/election/cmd/elect/internal/snapshot"
	"github.com/zkelection/election/cmd/elect/internal/text"
)

// live shows an election until the command is interrupted. On a terminal it redraws the
// screen, once a second for the ages. Elsewhere it writes every change.
type live struct {
	env    *cli.Env
	reader snapshot.Reader
	status func() election.ClientStatus
	path   string
	view   view
	last   string // what has been written last, without times
}

const (
	tick  = time.Second            // between two drawings, and two attempts after an error
	merge = 100 * time.Millisecond // changes that follow each other more quickly are shown as one
)

// clear clears the screen and what has been scrolled out of it, and goes to its top.
const clear = "\x1b[H\x1b[2J\x1b[3J"

// run returns when the context of the command ends.
func (l *live) run() error {
	ctx := l.env.Context
	for ctx.Err() == nil {
		e, err := l.reader.Read(ctx, l.path, snapshot.Options{Watch: true, Limit: l.view.limit})
		if ctx.Err() != nil {
			break
		}
		if err := l.showUntilChanged(e, err); err != nil {
			return err
		}
		sleep(ctx, merge)
	}
	return ctx.Err()
}

// showUntilChanged shows what has been read, or the error, until that may have changed. Its
// own error is that of the output.
func (l *live) showUntilChanged(e *snapshot.Election, failed error) error {
	var changed <-chan zk.Event
	if failed == nil {
		changed = e.Changed
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		lost := !l.status().Connected
		if lost && failed == nil {
			failed = election.ErrDisconnected
		}
		if err := l.show(e, failed); err != nil {
			return err
		}
		select {
		case <-changed:
			return nil
		case <-ticker.C:
			if failed != nil && l.status().Connected {
				return nil
			}
		case <-l.env.Context.Done():
			return nil
		}
	}
}

// change is a change as programs read it.
type change struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"` // nothing is known meanwhile
	State any       `json:"state,omitempty"` // the document of the command without --watch
}

func (l *live) show(e *snapshot.Election, failed error) error {
	now := time.Now()
	if !l.view.format.JSON() && text.Terminal(l.env.Stdout) {
		return l.draw(e, failed, now)
	}
	c := change{Time: now.UTC()}
	if failed != nil {
		c.Error = inWords(failed)
	} else {
		c.State = l.view.document(e)
	}
	key, err := json.Marshal(change{Error: c.Error, State: c.State})
	if err != nil || string(key) == l.last {
		return err
	}
	l.last = string(key)
	if l.view.format.JSON() {
		return text.WriteJSON(l.env.Stdout, c, true)
	}
	return l.write(l.env.Stdout, e, failed, now, "\n")
}

// draw writes the whole screen at once, so that it does not flicker.
func (l *live) draw(e *snapshot.Election, failed error, now time.Time) error {
	var screen strings.Builder
	screen.WriteString(clear)
	if err := l.write(&screen, e, failed, now, ""); err != nil {
		return err
	}
	_, err := io.WriteString(l.env.Stdout, screen.String())
	return err
}

func (l *live) write(w io.Writer, e *snapshot.Election, failed error, now time.Time, end string) error {
	colour := text.Colour(l.env.Stdout)
	if _, err := io.WriteString(w, clock(now)+"  "+text.Plain(l.path)+"\n"); err != nil {
		return err
	}
	switch {
	case failed != nil:
		_, err := io.WriteString(w, text.Paint(colour, text.Bad, inWords(failed))+"\n"+end)
		return err
	case len(e.Line) == 0:
		_, err := io.WriteString(w, text.Paint(colour, text.Warning, "nobody takes part")+"\n"+end)
		return err
	}
	if err := table(e, now).Write(w, colour); err != nil {
		return err
	}
	_, err := io.WriteString(w, end)
	return err
}

// inWords says why nothing is known.
func inWords(err error) string {
	switch {
	case errors.Is(err, election.ErrDisconnected), errors.Is(err, election.ErrSessionExpired):
		return "not connected to ZooKeeper"
	case errors.Is(err, zk.ErrNoAuth):
		return "no permission to read it"
	}
	return text.Plain(err.Error())
}

// clock shows a time as all commands do that write changes.
func clock(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z07:00") }
