package sitetest

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
)

var endPromises = []Promise{
	{"descendants", "a container lasts until main and all its descendants are gone", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("leave", "hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		h.until("main's own exit", func() bool {
			st, err := b.control().State(h.Context())
			h.must(err)
			return st.Exit != nil
		})
		st, err := b.control().State(h.Context())
		h.check(err == nil && len(st.PIDs) == 1, "state: %+v, %v", st, err)
		b.release()
		h.wants(main.wait(), 0, "ready ")
	}},
	{"wait-main", "with the other rule it lasts as long as main, and whatever is left is killed", func(h *harness) {
		b := h.hold(Container{}).up()
		p := command("leave", "hold", "/tmp/end")
		p.WaitMain = true
		main := b.start(p, nil)
		r := main.wait()
		h.check(r.exit.Code == 0, "%+v", r)
		b.down()
		h.nothingLeft(b.c.ID)
	}},
	{"exec-keeps-nothing", "what a command beside main leaves behind does not keep the container alive, and is killed at its end", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		left := b.exec(command("leave", "hold", "/tmp/never"))
		h.says(left.out, "ready")
		b.release()
		h.wants(main.wait(), 0, "ready ")
		left.ended()
	}},
	{"stop", "main gets the stop signal, and may end as it likes", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("heed", "7"), nil)
		h.says(main.out, "ready")
		h.must(b.control().Stop(h.Context(), int(syscall.SIGTERM), patience))
		h.wants(main.wait(), 7, "ready ")
	}},
	{"stop-kills", "what does not heed the stop signal is killed after the timeout", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("deaf", "/tmp/end"), nil)
		h.says(main.out, "ready")
		h.must(b.control().Stop(h.Context(), int(syscall.SIGTERM), 50*time.Millisecond))
		h.wants(main.wait(), 137, "ready ")
	}},
	{"signal", "a signal reaches main", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		h.must(b.control().Signal(h.Context(), int(syscall.SIGTERM), false))
		r := main.wait()
		h.check(r.exit.Code == 143 && r.exit.Signal == int(syscall.SIGTERM), "exit: %+v", r.exit)
	}},
	{"abandon", "to abandon a container kills every process in it, and leaves a record", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("leave", "deaf", "/tmp/end"), nil)
		h.says(main.out, "ready")
		st, err := b.control().State(h.Context())
		h.must(err)
		h.must(b.control().Abandon(h.Context()))
		h.until("processes to be gone", func() bool { return !slices.ContainsFunc(st.PIDs, func(pid int) bool { return !gone(pid) }) })
		_, err = h.host.Exit(b.c.ID)
		h.must(err)
	}},
	{"exit-record", "an engine that was away finds how main ended in the container's directory", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("heed", "6"), nil)
		h.says(main.out, "ready")
		h.must(b.control().Signal(h.Context(), int(syscall.SIGTERM), false))
		b.hangup() // the engine is away
		h.until("the record", func() bool { _, err := h.host.Exit(b.c.ID); return err == nil })
		exit, err := h.host.Exit(b.c.ID)
		h.check(err == nil && exit.Code == 6 && !exit.At.IsZero(), "record: %+v, %v", exit, err)
	}},
	{"engine-restart", "a container goes on without its engine, and the next engine finds it by its socket", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		b.hangup()
		loop, err := h.host.Dial(h.Context(), b.c.ID)
		h.must(err)
		b.loop = loop
		main.end = make(chan end, 1)
		b.watch(main)
		st, err := b.control().State(h.Context())
		h.check(err == nil && st.Main == main.pid && slices.Contains(st.PIDs, main.pid), "state: %+v, %v; want pid %d", st, err, main.pid)
		b.release()
		h.wants(main.wait(), 0, "ready ")
	}},
	{"engine-gone-early", "when the engine dies before main was started, the run loop ends by itself", func(h *harness) {
		b := h.hold(Container{}).up()
		b.hangup()
		h.loopEnds(b.c.ID)
		b.down()
		h.nothingLeft(b.c.ID)
	}},
	{"loop-killed", "a run loop that was killed takes its container with it, and all is given back", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("leave", "deaf", "/tmp/end"), nil)
		h.says(main.out, "ready")
		st, err := b.control().State(h.Context())
		h.must(err)
		if st.Loop == 0 {
			h.must(errors.ErrUnsupported)
		}
		h.must(syscall.Kill(st.Loop, syscall.SIGKILL))
		h.check(main.ended().err != nil, "waiting for a dead run loop succeeds")
		b.down()
		h.until("processes to be gone", func() bool { return !slices.ContainsFunc(st.PIDs, func(pid int) bool { return !gone(pid) }) })
		h.nothingLeft(b.c.ID)
		_, err = h.host.Exit(b.c.ID)
		h.check(errors.Is(err, fs.ErrNotExist), "a record of an end that nobody saw: %v", err)
		h.wants(b.up().start(command("exit", "5"), nil).wait(), 5, "")
	}},
	{"not-running", "what needs a main says so before it was started", func(h *harness) {
		b := h.hold(Container{}).up()
		err := b.control().Signal(h.Context(), int(syscall.SIGTERM), false)
		h.check(errors.Is(err, control.ErrNotRunning), "signal: %v", err)
		err = b.control().Stop(h.Context(), int(syscall.SIGTERM), 0)
		h.check(errors.Is(err, control.ErrNotRunning), "stop: %v", err)
	}},
}
