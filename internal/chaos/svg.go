package main

import (
	"encoding/xml"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// The sizes of the drawing, in pixels.
const (
	labelWidth = 120
	rowHeight  = 16
	rowGap     = 4
	headHeight = 70
	mostWidth  = 20000 // of the part with the times; browsers draw wider pictures badly
	perSecond  = 8     // unless it gets too wide
)

type svgText struct {
	XMLName xml.Name `xml:"text"`
	X       float64  `xml:"x,attr"`
	Y       float64  `xml:"y,attr"`
	Anchor  string   `xml:"text-anchor,attr,omitempty"`
	Fill    string   `xml:"fill,attr,omitempty"`
	Weight  string   `xml:"font-weight,attr,omitempty"`
	Text    string   `xml:",chardata"`
}

type svgRect struct {
	XMLName xml.Name `xml:"rect"`
	X       float64  `xml:"x,attr"`
	Y       float64  `xml:"y,attr"`
	Width   float64  `xml:"width,attr"`
	Height  float64  `xml:"height,attr"`
	Fill    string   `xml:"fill,attr"`
	Opacity string   `xml:"fill-opacity,attr,omitempty"`
	Title   string   `xml:"title,omitempty"` // shown where the pointer is
}

type svgPicture struct {
	XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
	Width   float64  `xml:"width,attr"`
	Height  float64  `xml:"height,attr"`
	Font    string   `xml:"font-family,attr"`
	Size    int      `xml:"font-size,attr"`
	Parts   []any
}

// The colours of the drawing.
const (
	colourLeads   = "#2b6cb0"
	colourFault   = "#dd8452"
	colourWiped   = "#805ad5"
	colourOverlap = "#e00000"
	colourJava    = "#b794f4" // an overlap that LeaderLatch permits
	colourRow     = "#f1f3f5"
)

// picture draws who considered itself leader, and which faults there were.
type picture struct {
	svgPicture
	begin, end int64
	scale      float64 // pixels a nanosecond
	rows       map[string]int
}

// draw writes the timeline of the events as an SVG.
func draw(file string, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	text, err := xml.MarshalIndent(newPicture(events).svgPicture, "", " ")
	if err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return os.WriteFile(file, append([]byte(xml.Header), append(text, '\n')...), 0o644)
}

func newPicture(events []Event) *picture {
	p := &picture{begin: events[0].At, end: events[len(events)-1].At + 1, rows: map[string]int{}}
	length := time.Duration(p.end - p.begin)
	width := min(math.Max(length.Seconds()*perSecond, 600), mostWidth)
	p.scale = width / float64(length)
	p.layOut(events)
	p.Width = labelWidth + width + 10
	p.Height = float64(headHeight + len(p.rows)*(rowHeight+rowGap) + 10)
	p.Font, p.Size = "sans-serif", 11
	p.Parts = append([]any{svgRect{Width: p.Width, Height: p.Height, Fill: "white"}}, p.Parts...)
	for _, name := range slices.Sorted(maps.Keys(p.rows)) {
		i := p.rows[name]
		p.add(svgRect{X: labelWidth, Y: p.y(i), Width: width, Height: rowHeight, Fill: colourRow})
		p.add(svgText{X: labelWidth - 6, Y: p.y(i) + 12, Anchor: "end", Text: name})
	}
	p.times(length)
	p.faults(events)
	all := spans(events)
	for _, s := range all {
		p.bar(seat(s.Who), s.From, s.To, colourLeads, "", s.String())
	}
	n := p.overlaps(overlaps(all))
	p.legend(length, terms(events), n)
	return p
}

// layOut gives each candidate a row, election by election, and each server.
func (p *picture) layOut(events []Event) {
	var names []string
	for _, e := range events {
		name := ""
		switch {
		case e.What == saysStarted:
			name = e.Election + "\x00" + seat(e.Who)
		case e.What == saysFault && e.Election == "":
			name = "~" + "\x00" + seat(e.Who) // after all elections, unless a candidate has the row
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		_, name, _ = strings.Cut(name, "\x00")
		if _, known := p.rows[name]; !known {
			p.rows[name] = len(p.rows)
		}
	}
}

func (p *picture) add(part any) { p.Parts = append(p.Parts, part) }

func (p *picture) x(at int64) float64 {
	return math.Round(100*(labelWidth+float64(at-p.begin)*p.scale)) / 100
}
func (p *picture) y(row int) float64 { return float64(headHeight + row*(rowHeight+rowGap)) }

func (p *picture) bar(row string, from, to int64, fill, opacity, title string) {
	i, known := p.rows[row]
	if !known {
		return
	}
	y, height := p.y(i), float64(rowHeight)
	if fill == colourLeads {
		y, height = y+4, height-8
	}
	width := math.Max(p.x(to)-p.x(from), 1)
	p.add(svgRect{X: p.x(from), Y: y, Width: width, Height: height, Fill: fill, Opacity: opacity, Title: title})
}

// times draws a scale with a number every ten seconds, or less often.
func (p *picture) times(length time.Duration) {
	step := 10 * time.Second
	for float64(step)*p.scale < 60 {
		step *= 2
	}
	for at := time.Duration(0); at < length; at += step {
		x := p.x(p.begin + int64(at))
		p.add(svgText{X: x, Y: headHeight - 8, Text: at.String()})
		p.add(svgRect{X: x, Y: headHeight - 4, Width: 1, Height: p.Height - headHeight, Fill: "#cccccc"})
	}
}

func (p *picture) faults(events []Event) {
	begun := map[int64]Event{}
	for _, e := range events {
		switch e.What {
		case saysFault:
			begun[e.Op] = e
		case saysHealed:
			p.bar(seat(e.Who), begun[e.Op].At, e.At, colourFault, "0.6", e.Text)
		case saysWiped:
			p.add(svgRect{X: p.x(e.At), Y: headHeight, Width: 2, Height: p.Height - headHeight - 10, Fill: colourWiped, Title: "all data is gone"})
		}
	}
}

// overlaps draws each overlap over all rows of the two, and returns how many were not permitted.
func (p *picture) overlaps(all []Overlap) (n int) {
	for _, o := range all {
		fill := colourJava
		if !o.Permitted {
			fill = colourOverlap
			n++
		}
		for _, who := range []string{o.First.Who, o.Second.Who} {
			p.bar(seat(who), o.Second.From, o.Second.From+int64(o.Length), fill, "", o.String())
		}
	}
	return n
}

func (p *picture) legend(length time.Duration, terms, overlapping int) {
	fill := "#2f855a"
	if overlapping > 0 {
		fill = colourOverlap
	}
	p.add(svgText{X: 10, Y: 20, Weight: "bold", Fill: fill, Text: fmt.Sprintf("%v, %d terms, %d overlaps of our candidates",
		length.Round(time.Second), terms, overlapping)})
	x := 10.0
	for _, l := range []struct{ fill, text string }{{colourLeads, "considers itself leader"}, {colourFault, "fault"},
		{colourWiped, "all data wiped"}, {colourOverlap, "overlap"}, {colourJava, "overlap that LeaderLatch permits"}} {
		p.add(svgRect{X: x, Y: 30, Width: 10, Height: 10, Fill: l.fill})
		p.add(svgText{X: x + 14, Y: 39, Text: l.text})
		x += 30 + 6.2*float64(len(l.text))
	}
}
