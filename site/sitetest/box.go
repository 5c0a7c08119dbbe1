package sitetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
)

// box is a container under test.
type box struct {
	h    *harness
	c    Container
	site *site.Site
	loop Loop
}

// hold makes what a stopped container keeps. When the test ends everything is
// given back, and nothing may be left.
func (h *harness) hold(c Container) *box {
	h.Helper()
	b := &box{h: h, c: h.complete(c)}
	b.site = h.site(b.c.ID)
	h.Cleanup(func() {
		b.hangup()
		if err := b.site.Unwind(context.Background()); err != nil {
			h.Errorf("give back: %v", err)
		}
		h.until("nothing of "+b.c.ID+" to be left", func() bool {
			left, err := h.host.Left()
			return err == nil && !slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, b.c.ID) })
		})
	})
	h.must(b.site.Held.Acquire(h.Context(), h.host.Hold(b.c)))
	return b
}

// up makes what a running container has, so that main can be started.
func (b *box) up() *box {
	b.h.Helper()
	b.h.must(b.tryUp())
	return b
}

func (b *box) tryUp(more ...site.Step) error {
	steps, loop, err := b.h.host.Run(b.c)
	if err != nil {
		return err
	}
	b.loop = loop
	return b.site.Run.Acquire(b.h.Context(), append(steps, more...))
}

// down gives back what only a running container has.
func (b *box) down() {
	b.h.Helper()
	b.hangup()
	b.h.must(b.site.Run.Unwind(b.h.Context()))
}

func (b *box) hangup() {
	if b.loop != nil {
		b.loop.Close()
		b.loop = nil
	}
}

func (b *box) control() control.Control { return b.loop.Control() }

// result is how a program ended and what it has written.
type result struct {
	exit     control.Exit
	out, err string
}

// running is a process with pipes for its output.
type running struct {
	h        *harness
	pid      int
	out, err *pipe
	end      chan end
}

// end is the answer to the question how a process ended.
type end struct {
	exit control.Exit
	err  error
}

// pipe collects what is written into it.
type pipe struct {
	w    *os.File
	mu   sync.Mutex
	buf  bytes.Buffer
	done chan struct{}
}

func (h *harness) pipe() *pipe {
	r, w, err := os.Pipe()
	h.must(err)
	p := &pipe{w: w, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer r.Close()
		var b [32 << 10]byte
		for {
			n, err := r.Read(b[:])
			p.mu.Lock()
			p.buf.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// patience bounds how long anything may take: none of it is about speed.
const patience = 60 * time.Second

// says waits until a text was written.
func (h *harness) says(p *pipe, text string) {
	h.Helper()
	h.until("output "+text, func() bool { return strings.Contains(p.String(), text) })
}

// until waits for a condition.
func (h *harness) until(what string, done func() bool) {
	h.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("waited in vain for: %s", what)
		}
	}
}

// loopEnds waits for the end of a container's run loop.
func (h *harness) loopEnds(id string) {
	h.Helper()
	h.until("the end of the run loop", func() bool {
		loop, err := h.host.Dial(h.Context(), id)
		if err == nil {
			loop.Close()
		}
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	})
}

// command is a probe with arguments.
func command(args ...string) control.Process {
	return control.Process{Args: append([]string{probePath}, args...), Env: []string{"PATH=/bin", "HOME=/"}}
}

// start starts main; stdin may be nil.
func (b *box) start(p control.Process, stdin *os.File) *running {
	b.h.Helper()
	r, err := b.tryStart(p, stdin)
	b.h.must(err)
	return r
}

func (b *box) tryStart(p control.Process, stdin *os.File) (*running, error) {
	r := b.process()
	defer r.out.w.Close()
	defer r.err.w.Close()
	b.watch(r)
	var err error
	r.pid, err = b.control().Start(b.h.Context(), p, control.Stdio{Stdin: stdin, Stdout: r.out.w, Stderr: r.err.w})
	return r, err
}

func (b *box) process() *running {
	return &running{h: b.h, out: b.h.pipe(), err: b.h.pipe(), end: make(chan end, 1)}
}

// watch asks how main ends, as engines do: before it is started, since a run
// loop that has ended answers those only who have asked, and has left a record
// for the others.
func (b *box) watch(r *running) {
	c, answer := b.control(), r.end
	go func() {
		exit, err := c.Wait(b.h.Context())
		if err != nil {
			if left, rerr := b.h.host.Exit(b.c.ID); rerr == nil {
				exit, err = left, nil
			}
		}
		answer <- end{exit, err}
	}()
}

// exec starts a process beside main.
func (b *box) exec(p control.Process) *running {
	r, c := b.process(), b.control()
	go func() {
		defer r.out.w.Close()
		defer r.err.w.Close()
		exit, err := c.Exec(b.h.Context(), p, control.Stdio{Stdout: r.out.w, Stderr: r.err.w})
		r.end <- end{exit, err}
	}()
	return r
}

// release lets a probe go on that holds until /tmp/end says so.
func (b *box) release() {
	// Main may have ended before the command has, which is killed then.
	b.exec(command("write", "/tmp/end", "go")).ended()
}

// ended returns the answer how it ended: for main, how the container did.
func (r *running) ended() end {
	select {
	case e := <-r.end:
		return e
	case <-time.After(patience):
		r.h.Fatal("waited in vain for the end of a process")
		return end{}
	}
}

// wait returns how it ended and what it has written.
func (r *running) wait() result {
	r.h.Helper()
	e := r.ended()
	r.h.must(e.err)
	<-r.out.done
	<-r.err.done
	return result{e.exit, r.out.String(), r.err.String()}
}

// run is a whole life of a container: made, run, given back.
func (h *harness) run(c Container, args ...string) result {
	h.Helper()
	return h.runProcess(c, command(args...))
}

func (h *harness) runProcess(c Container, p control.Process) result {
	h.Helper()
	b := h.hold(c).up()
	r := b.start(p, nil).wait()
	b.down()
	return r
}

// wants compares a result with what was promised.
func (h *harness) wants(r result, code int, out string) {
	h.Helper()
	if r.exit.Code != code || r.out != out {
		h.Errorf("exit %+v, output %q, errors %q; want exit code %d, output %q", r.exit, r.out, r.err, code, out)
	}
}

// gone tells whether there is no such process any more.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// file makes a pipe whose reading end has this content.
func (h *harness) file(content []byte) *os.File {
	r, w, err := os.Pipe()
	h.must(err)
	go func() {
		defer w.Close()
		_, _ = io.Copy(w, bytes.NewReader(content)) // the reader may have had enough
	}()
	return r
}
