package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/joyboyid/xc/engine/api"
)

// progress shows a pull or a push: a bar for each layer on a terminal, else a line for
// each step.
type progress interface {
	show(api.PullProgress) error
	end()
}

func newProgress(w *os.File) progress {
	if isTerminal(w) {
		return &bars{w: w}
	}
	return &lines{w: w, phase: map[string]string{}}
}

// lines are for logs and scripts.
type lines struct {
	w     io.Writer
	phase map[string]string // last one shown, by layer
}

func (l *lines) show(p api.PullProgress) error {
	if l.phase[p.Layer] == p.Phase {
		return nil
	}
	l.phase[p.Layer] = p.Phase
	name := shortID(p.Layer, false)
	if name == "" {
		name = "image"
	}
	line := name + ": " + p.Phase
	if p.Total > 0 {
		line += " (" + size(p.Total) + ")"
	}
	_, err := fmt.Fprintln(l.w, line)
	return err
}

func (*lines) end() {}

// bars are for people: a line for each layer, drawn over in place. No library draws them,
// as every command would pay for the initialisation of what is linked for this one.
type bars struct {
	w *os.File

	mu     sync.Mutex
	layers []*layer // in the order they were told of
	lines  int      // of the last frame, which the next one is drawn over
	drawn  time.Time
	later  *time.Timer // draws what has been told since
	err    error       // of the terminal
}

type layer struct {
	digest, phase  string
	current, total int64 // bytes; total is zero while it is not known
}

// framePause is how long a frame stays before the next one.
const framePause = 100 * time.Millisecond

func (b *bars) show(p api.PullProgress) error {
	if p.Layer == "" {
		return nil // a bar of each layer says more
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.layerLocked(p.Layer)
	l.phase = p.Phase
	if p.Total > 0 {
		l.current, l.total = min(p.Current, p.Total), p.Total
	}
	if l.ended() {
		l.current = l.total
	}
	if b.later == nil {
		b.later = time.AfterFunc(framePause-time.Since(b.drawn), b.draw)
	}
	return b.err
}

func (b *bars) layerLocked(digest string) *layer {
	for _, l := range b.layers {
		if l.digest == digest {
			return l
		}
	}
	b.layers = append(b.layers, &layer{digest: digest})
	return b.layers[len(b.layers)-1]
}

// end draws the last frame, of whatever the layers have come to.
func (b *bars) end() { b.draw() }

// draw draws what has been told since the last frame, in one write. The cursor is left
// below it, so that an interrupt, or whatever else is written, finds a line of its own.
func (b *bars) draw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.later == nil {
		return // end was quicker, or there is nothing new
	}
	b.later.Stop()
	b.later = nil
	width, rows := window(b.w)
	var f strings.Builder
	if up := min(b.lines, rows-1); up > 0 {
		fmt.Fprintf(&f, "\x1b[%dA", up)
	}
	line := func(s string) { f.WriteString(s[:min(len(s), width-1)] + "\x1b[K\n") } // a line of all columns may wrap
	if len(b.layers) >= rows {
		b.layers = slices.DeleteFunc(b.layers, func(l *layer) bool { // those scroll away
			if l.ended() {
				line(l.text(width))
			}
			return l.ended()
		})
	}
	b.lines = min(len(b.layers), rows-1)
	for i, l := range b.layers[:b.lines] {
		if more := len(b.layers) - i; i == rows-2 && more > 1 {
			line(fmt.Sprintf("and %d more", more))
			break
		}
		line(l.text(width))
	}
	f.WriteString("\x1b[J") // what is left of a longer frame
	if _, err := b.w.WriteString(f.String()); err != nil && b.err == nil {
		b.err = fmt.Errorf("show progress: %w", err)
	}
	b.drawn = time.Now()
}

// window is the size of a terminal, which may not know it.
func window(f *os.File) (width, rows int) {
	width, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 2 || rows < 2 {
		return 80, 24
	}
	return width, rows
}

func (l *layer) ended() bool {
	return l.phase == api.PhaseDone || l.phase == api.PhaseExists || l.phase == api.PhaseMounted
}

// text shows the layer. What there is no room for is left out: the bar first.
func (l *layer) text(width int) string {
	s := fmt.Sprintf("%-12s %-11s", shortID(l.digest, false), l.phase)
	if l.total == 0 {
		return s
	}
	div, unit := scale(l.total)
	amount := fmt.Sprintf("%.1f %s / %.1f %[2]s", float64(l.current)/div, unit, float64(l.total)/div)
	const longest = len("100.0 MB / 100.0 MB")
	if room := min(30, width-len(s)-longest-6); room >= 8 {
		n := int(l.current * int64(room) / l.total)
		s += " [" + strings.Repeat("=", n) + strings.Repeat("-", room-n) + "]"
	}
	return s + "  " + amount
}
