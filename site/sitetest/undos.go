package sitetest

import (
	"context"
	"errors"
	"slices"

	"github.com/joyboyid/xc/site"
)

var undoPromises = []Promise{
	{"undo-nothing", "what was planned and never made can be given back", func(h *harness) {
		b := h.hold(Container{})
		for _, step := range h.runSteps(b.c) {
			h.must(b.site.Run.Plan(h.Context(), step.Undo))
		}
		h.must(b.site.Run.Unwind(h.Context()))
		h.nothingLeft(b.c.ID)
		c := h.complete(Container{})
		s := h.site(c.ID)
		for _, step := range h.host.Hold(c) {
			h.must(s.Held.Plan(h.Context(), step.Undo))
		}
		h.must(s.Unwind(h.Context()))
		h.nothingLeft(b.c.ID)
	}},
	{"undo-twice", "what was given back can be given back again", func(h *harness) {
		b := h.hold(Container{}).up()
		for _, stack := range []*site.Stack{b.site.Run, b.site.Held} {
			undos, err := stack.Pending(h.Context())
			h.must(err)
			h.check(len(undos) > 0, "there is nothing to give back")
			b.hangup()
			h.must(stack.Unwind(h.Context()))
			h.must(stack.Plan(h.Context(), undos...))
			h.must(stack.Unwind(h.Context()))
		}
		h.nothingLeft()
	}},
	{"undo-foreign", "an undo that names what is not the engine's is refused, kept, and does nothing", func(h *harness) {
		undos, intact := h.host.Foreign(h.T)
		h.check(len(undos) > 0, "nothing foreign to try")
		for _, u := range undos {
			s := site.New(h.host.NewID(), &site.MemoryJournal{}, h.host.Table())
			h.must(s.Run.Plan(h.Context(), u))
			err := s.Run.Unwind(h.Context())
			h.check(err != nil, "%s %s is done", u.Kind, u.Data)
			pending, perr := s.Run.Pending(h.Context())
			h.check(perr == nil && len(pending) == 1, "%s: %d pending, %v", u.Kind, len(pending), perr)
		}
		h.must(intact())
	}},
	{"undo-of-later", "an undo of a later release is reported and kept", func(h *harness) {
		for kind := range h.host.Table() {
			s := site.New(h.host.NewID(), &site.MemoryJournal{}, h.host.Table())
			h.must(s.Run.Plan(h.Context(), site.Undo{Kind: kind, Version: 99, Data: []byte(`{"later":true}`)}))
			err := s.Run.Unwind(h.Context())
			h.check(errors.Is(err, site.ErrUnknownKind), "%s: %v", kind, err)
			pending, err := s.Run.Pending(h.Context())
			h.check(err == nil && len(pending) == 1, "%s: %d pending, %v", kind, len(pending), err)
		}
	}},
	{"undo-names", "what a container has on the host is found by the engine's tag, and known to be its", func(h *harness) {
		b := h.hold(Container{}).up()
		left, err := h.host.Left()
		h.check(err == nil && len(left) > 1, "found without records: %q, %v", left, err)
		h.nothingLeft(b.c.ID)
	}},
	{"failed-start", "when a step fails, everything before it is given back", func(h *harness) {
		b := h.hold(Container{})
		before, err := h.host.Left()
		h.must(err)
		cause := errors.New("no more room")
		last := site.Step{Undo: h.runSteps(b.c)[0].Undo, Do: func(context.Context) error { return cause }}
		err = b.tryUp(last)
		h.check(errors.Is(err, cause), "error: %v", err)
		b.hangup()
		h.until("everything to be as before", func() bool {
			after, err := h.host.Left()
			return err == nil && slices.Equal(before, after)
		})
		h.wants(b.up().start(command("exit", "3"), nil).wait(), 3, "")
	}},
	{"crash-anywhere", "wherever in its life the engine of a container dies, the next one gives everything back", crashAnywhere},
}

// runSteps are the steps of a container that is not run.
func (h *harness) runSteps(c Container) []site.Step {
	steps, loop, err := h.host.Run(c)
	h.must(err)
	loop.Close()
	return steps
}

// died is the death of an engine in a test that goes on.
type died struct{}

// crashAnywhere lives a life once to learn its points, and then once for each,
// up to there.
func crashAnywhere(h *harness) {
	var points []string
	h.life(func(point string) { points = append(points, point) })
	h.check(len(points) > 20, "points: %q", points)
	for _, at := range points {
		s, loop := h.life(func(point string) {
			if point == at {
				panic(died{})
			}
		})
		if loop != nil {
			loop.Close() // as the kernel does
		}
		if err := h.site(s.ID).Unwind(h.Context()); err != nil {
			h.Errorf("after a crash at %q: %v", at, err)
		}
		h.Logf("crashed at %q", at)
		h.nothingLeft()
	}
}

// life makes and removes a container. It ends early when trace panics with died.
func (h *harness) life(trace func(point string)) (s *site.Site, loop Loop) {
	c := h.complete(Container{})
	s = h.site(c.ID)
	s.Trace = trace
	defer func() {
		if r := recover(); r != nil && r != any(died{}) {
			panic(r)
		}
	}()
	h.must(s.Held.Acquire(h.Context(), h.host.Hold(c)))
	steps, loop, err := h.host.Run(c)
	h.must(err)
	h.must(s.Run.Acquire(h.Context(), steps))
	loop.Close()
	h.must(s.Unwind(h.Context()))
	return s, loop
}
