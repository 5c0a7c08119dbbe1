package cli

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

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
		return &bars{container: mpb.New(mpb.WithOutput(w), mpb.WithWidth(32)), layers: map[string]*bar{}}
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

// bars are for people.
type bars struct {
	container *mpb.Progress
	layers    map[string]*bar
}

type bar struct {
	*mpb.Bar
	phase atomic.Pointer[string] // read by the goroutine that draws
}

func (b *bars) show(p api.PullProgress) error {
	if p.Layer == "" {
		return nil // a bar of each layer says more
	}
	l := b.layers[p.Layer]
	if l == nil {
		l = b.add(p.Layer)
		b.layers[p.Layer] = l
	}
	l.phase.Store(&p.Phase)
	if p.Total > 0 {
		l.SetTotal(p.Total, false)
		l.SetCurrent(p.Current)
	}
	if p.Phase == api.PhaseDone || p.Phase == api.PhaseExists || p.Phase == api.PhaseMounted {
		l.SetTotal(-1, true) // as many as there are now
	}
	return nil
}

func (b *bars) add(layer string) *bar {
	l := &bar{}
	waiting := api.PhaseWaiting
	l.phase.Store(&waiting)
	l.Bar = b.container.AddBar(0,
		mpb.PrependDecorators(
			decor.Name(shortID(layer, false), decor.WCSyncSpaceR),
			decor.Any(func(decor.Statistics) string { return *l.phase.Load() }, decor.WCSyncSpaceR),
		),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f / % .1f")),
	)
	return l
}

func (b *bars) end() {
	for _, l := range b.layers {
		l.Abort(false) // does nothing to one that is complete
	}
	b.container.Wait()
}
