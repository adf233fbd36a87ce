package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The sizes of drawings, in pixels.
const (
	labelWidth = 200
	plotWidth  = 520
	headHeight = 40
	rowHeight  = 26
)

// The colours of drawings. This library is blue, what it is compared with is grey.
const (
	colourText  = "#24292f"
	colourLine  = "#d0d7de"
	colourFast  = "#54aeff"
	colourOurs  = "#0969da"
	colourBare  = "#8c959f"
	colourOther = "#57606a"
)

func colourOf(key string) string {
	switch key {
	case "ours":
		return colourOurs
	case "fast":
		return colourFast
	case "bare":
		return colourBare
	}
	return colourOther
}

// svg is a drawing that grows. Its background is white, so that it can be read on a dark
// page, too.
type svg struct {
	width, height float64
	parts         strings.Builder
}

func newSVG(width, height float64, title string) *svg {
	s := &svg{width: width, height: height}
	s.rect(0, 0, width, height, "white")
	s.text(10, 22, title, "start", "bold")
	return s
}

func (s *svg) add(format string, args ...any) { fmt.Fprintf(&s.parts, " "+format+"\n", args...) }

func (s *svg) rect(x, y, width, height float64, fill string) {
	s.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x, y, width, height, fill)
}

func (s *svg) text(x, y float64, text, anchor, weight string) {
	s.add(`<text x="%.1f" y="%.1f" text-anchor="%s" font-weight="%s" fill="%s">%s</text>`, x, y, anchor, weight, colourText, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, stroke string, width float64) {
	s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%.1f"/>`, x1, y1, x2, y2, stroke, width)
}

func (s *svg) dot(x, y, radius float64, fill, opacity string) {
	s.add(`<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s" fill-opacity="%s"/>`, x, y, radius, fill, opacity)
}

func (s *svg) String() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`,
		s.width, s.height, s.width, s.height) + "\n" + s.parts.String() + "</svg>\n"
}

// niceStep returns a distance of 1, 2 or 5 times a power of ten that divides most into at
// most eight parts.
func niceStep(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most/8)))
	for _, times := range []float64{1, 2, 5, 10} {
		if most/(step*times) <= 8 {
			return step * times
		}
	}
	return step * 10
}

// scale maps values from 0 to most onto the width of the plot.
type scale struct{ most float64 }

func (c scale) x(v float64) float64 { return labelWidth + min(v/c.most, 1)*plotWidth }

// axis draws vertical lines with their values.
func (s *svg) axis(c scale, bottom float64, unit string) {
	step := niceStep(c.most)
	for i := 0; float64(i)*step <= c.most*1.0001; i++ {
		x := c.x(float64(i) * step)
		s.line(x, headHeight-4, x, bottom, colourLine, 1)
		s.text(x, bottom+14, fmt.Sprintf("%g", math.Round(float64(i)*step*1e6)/1e6), "middle", "normal")
	}
	s.text(labelWidth+plotWidth+10, bottom+14, unit, "start", "normal")
}

// spread draws all values of each contender as dots, the range from p10 to p90 as a bar,
// and the median as a line with its number. Values beyond the plot are at its edge.
func spread(title, unit string, perUnit float64, all []Times) string {
	bottom := float64(headHeight + rowHeight*len(all))
	s := newSVG(labelWidth+plotWidth+110, bottom+28, title)
	most := 0.0
	for _, t := range all {
		v, ok := summarise(sorted(t.Nanos))
		if ok {
			most = max(most, float64(v.p90)*1.3)
		}
	}
	c := scale{most / perUnit}
	s.axis(c, bottom, unit)
	for i, t := range inOrder(all) {
		y, values := float64(headHeight+rowHeight*i)+rowHeight/2, sorted(t.Nanos)
		sum, ok := summarise(values)
		s.text(labelWidth-8, y+4, lookUp(t.Contender).Label, "end", "normal")
		if !ok {
			continue
		}
		at := func(v int64) float64 { return c.x(float64(v) / perUnit) }
		s.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="12" fill="%s" fill-opacity="0.35"/>`, at(sum.p10), y-6, max(at(sum.p90)-at(sum.p10), 1), colourOf(t.Contender))
		for _, v := range values {
			s.dot(at(v), y, 2, colourOf(t.Contender), "0.35")
		}
		s.line(at(sum.p50), y-9, at(sum.p50), y+9, colourOf(t.Contender), 3)
		s.text(labelWidth+plotWidth+14, y+4, amount(float64(sum.p50)/1e6), "start", "bold")
	}
	return s.String()
}

// inOrder returns times in the order of the contenders.
func inOrder(all []Times) (some []Times) {
	for _, c := range contenders {
		for _, t := range all {
			if t.Contender == c.Key {
				some = append(some, t)
			}
		}
	}
	return some
}

// bars draws two bars for each contender: the leader's and the follower's bytes.
func bars(title string, all []Idle) string {
	bottom := float64(headHeight + rowHeight*len(all))
	s := newSVG(labelWidth+plotWidth+150, bottom+28, title)
	most := 0.0
	for _, v := range all {
		most = max(most, float64(v.Leader), float64(v.Follower))
	}
	c := scale{most * 1.05 / 1000}
	s.axis(c, bottom, "kB a minute")
	for i, v := range all {
		y := float64(headHeight + rowHeight*i)
		s.text(labelWidth-8, y+17, lookUp(v.Contender).Label, "end", "normal")
		s.rect(labelWidth, y+3, c.x(float64(v.Leader)/1000)-labelWidth, 9, colourOf(v.Contender))
		s.add(`<rect x="%d" y="%.1f" width="%.1f" height="9" fill="%s" fill-opacity="0.5"/>`, labelWidth, y+13, c.x(float64(v.Follower)/1000)-labelWidth, colourOf(v.Contender))
		s.text(labelWidth+plotWidth+14, y+17, fmt.Sprintf("%.1f and %.1f kB", float64(v.Leader)/1000, float64(v.Follower)/1000), "start", "bold")
	}
	return s.String()
}

// growth draws bytes against the length of the line, both on logarithmic scales.
func growth(title string, all []Bytes) string {
	const top, height = headHeight + 10.0, 300.0
	s := newSVG(labelWidth+plotWidth+220, top+height+40, title)
	low, high := math.Inf(1), 0.0
	for _, b := range all {
		low, high = min(low, float64(least(b.Bytes))), max(high, float64(least(b.Bytes)))
	}
	low, high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	y := func(bytes float64) float64 { return top + height*(1-(math.Log10(bytes)-low)/max(high-low, 1)) }
	x := func(n int) float64 {
		return 70 + (labelWidth+plotWidth-70)*math.Log10(float64(n)/2)/math.Log10(float64(inLineCounts[len(inLineCounts)-1])/2)
	}
	for e := low; e <= high; e++ {
		s.line(70, y(math.Pow(10, e)), labelWidth+plotWidth, y(math.Pow(10, e)), colourLine, 1)
		s.text(64, y(math.Pow(10, e))+4, fmt.Sprintf("%.0f B", math.Pow(10, e)), "end", "normal")
	}
	for _, n := range inLineCounts {
		s.text(x(n), top+height+18, fmt.Sprint(n), "middle", "normal")
	}
	s.text(labelWidth+plotWidth+30, top+height+18, "in line", "start", "normal")
	dashes := map[string]string{"lock": "2 3", "kazoo": "7 3", "etcd": "1 5"}
	var used []float64
	for _, c := range elections() {
		var points []string
		last := 0.0
		for _, b := range all {
			if b.Contender == c.Key {
				last = y(float64(least(b.Bytes)))
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(b.InLine), last))
			}
		}
		if len(points) == 0 {
			continue
		}
		s.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`, strings.Join(points, " "), colourOf(c.Key), dashes[c.Key])
		label := free(last, used)
		used = append(used, label)
		s.text(labelWidth+plotWidth+10, label+4, c.Label, "start", "normal")
	}
	return s.String()
}

// free moves a label away from those that are there already.
func free(y float64, used []float64) float64 {
	for again := true; again; {
		again = false
		for _, u := range used {
			if math.Abs(u-y) < 14 {
				y, again = u-14.5, true
			}
		}
	}
	return y
}

// grid draws what was observed in each scenario as a coloured field.
func grid(title string, all []Torture) string {
	const width, height = 150.0, 34.0
	names := scenarioNames()
	s := newSVG(labelWidth+width*float64(len(names))+10, headHeight+20+height*float64(len(elections()))+10, title)
	for j, name := range names {
		s.text(labelWidth+width*(float64(j)+0.5), headHeight+8, name, "middle", "bold")
	}
	for i, c := range elections() {
		y := headHeight + 20 + height*float64(i)
		s.text(labelWidth-8, y+21, c.Label, "end", "normal")
		for j, name := range names {
			v := judge(observed(all, name, c.Key))
			x := labelWidth + width*float64(j)
			s.rect(x+1, y+1, width-2, height-2, v.colour())
			s.text(x+width/2, y+21, v.words, "middle", "normal")
		}
	}
	return s.String()
}
