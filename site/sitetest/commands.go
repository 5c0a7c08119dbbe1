package sitetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/site/control"
)

// commandPromises are about what runs before main and after it.
var commandPromises = []Promise{
	{"init", "init commands run one after the other before main, each to its end, with main's environment", func(h *harness) {
		p := command("read", "/tmp/list")
		p.Env = append(p.Env, "WORD=two ")
		p.Init = probes([]string{"append", "/tmp/list", "one "}, []string{"append", "/tmp/list", "$WORD"}, []string{"append", "/tmp/list", "three "})
		h.wants(h.runProcess(Container{}, p), 0, "one two three ")
	}},
	{"init-fails", "an init command that fails is control.ErrInitFailed: neither main nor what follows is started, and all can be given back", func(h *harness) {
		var held []string
		for name, failing := range map[string]control.Command{
			"exit 7":    {Args: []string{probePath, "exit", "7"}},
			"not there": {Args: []string{"/bin/nothing"}},
		} {
			src := h.dir()
			b := h.hold(Container{Mounts: []Mount{h.mount(src, "/srv", false)}}).up()
			p := command("append", "/srv/list", "main ")
			p.Init = append(probes([]string{"append", "/srv/list", "first "}), failing)
			p.Init = append(p.Init, probes([]string{"append", "/srv/list", "next "})...)
			p.Deinit = probes([]string{"append", "/srv/list", "deinit "})
			_, err := b.tryStart(p, nil)
			h.check(errors.Is(err, control.ErrInitFailed), "%s: %v", name, err)
			b.down()
			held = append(held, b.c.ID)
			h.nothingLeft(held...)
			list, err := os.ReadFile(filepath.Join(src, "list"))
			h.check(err == nil && string(list) == "first ", "%s: has run: %q, %v", name, list, err)
		}
	}},
	{"init-alone", "when the engine dies while an init command runs, main is not started, and nothing is left", func(h *harness) {
		src := h.dir()
		b := h.hold(Container{Mounts: []Mount{h.mount(src, "/srv", false)}}).up()
		p := command("append", "/srv/list", "main ")
		p.Init = probes([]string{"append", "/srv/list", "first "}, []string{"hold", "/srv/end"})
		failed, c := make(chan error, 1), b.control()
		go func() {
			_, err := c.Start(h.Context(), p, control.Stdio{})
			failed <- err
		}()
		h.until("the first command", func() bool { b, err := os.ReadFile(filepath.Join(src, "list")); return err == nil && len(b) > 0 })
		b.hangup()
		select {
		case err := <-failed:
			h.check(err != nil, "a start whose engine has died succeeds")
		case <-time.After(patience):
			h.Fatal("a start goes on without its engine")
		}
		h.loopEnds(b.c.ID)
		b.down()
		h.nothingLeft(b.c.ID)
		list, err := os.ReadFile(filepath.Join(src, "list"))
		h.check(err == nil && string(list) == "first ", "has run: %q, %v", list, err)
	}},
	{"deinit", "deinit commands run when main and all its descendants are gone, whatever their exit codes, and the end is told after them", func(h *harness) {
		src := h.dir()
		b := h.hold(Container{Mounts: []Mount{h.mount(src, "/srv", false)}}).up()
		p := command("leave", "hold", "/tmp/end")
		p.Deinit = probes([]string{"append", "/srv/list", "one "}, []string{"exit", "4"}, []string{"append", "/srv/list", "two "})
		main := b.start(p, nil)
		h.says(main.out, "ready")
		h.until("main's own exit", func() bool {
			st, err := b.control().State(h.Context())
			h.must(err)
			return st.Exit != nil
		})
		_, err := os.Stat(filepath.Join(src, "list"))
		h.check(errors.Is(err, fs.ErrNotExist), "they run while a descendant of main lives: %v", err)
		b.release()
		h.wants(main.wait(), 0, "ready ")
		list, err := os.ReadFile(filepath.Join(src, "list"))
		h.check(err == nil && string(list) == "one two ", "has run: %q, %v", list, err)
	}},
	{"deinit-time", "deinit commands that take longer than they may are killed, and the exit is main's", func(h *harness) {
		b := h.hold(Container{}).up()
		p := command("exit", "3")
		p.Deinit = probes([]string{"deaf", "/tmp/never"}, []string{"exit", "0"})
		p.DeinitTimeout = 50 * time.Millisecond
		r := b.start(p, nil).wait()
		h.check(r.exit.Code == 3 && !r.exit.Lost, "exit: %+v", r.exit)
		b.down()
		h.nothingLeft(b.c.ID)
	}},
}

// probes are commands of probes.
func probes(args ...[]string) (list []control.Command) {
	for _, a := range args {
		list = append(list, control.Command{Args: append([]string{probePath}, a...)})
	}
	return list
}

// appendVerb adds to a file a text, or with $ the value of a variable.
func appendVerb(p *probe, a []string) (int, syscall.Signal) {
	text := a[1]
	if name, ok := strings.CutPrefix(text, "$"); ok {
		text = ""
		for _, kv := range p.env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				text = v
			}
		}
	}
	b, err := p.readFile(a[0])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.fail(err)
	}
	return p.done(p.writeFile(a[0], append(b, text...)))
}

// initialize runs the init commands of a fake.
func (l *fakeLoop) initialize(ctx context.Context, p control.Process) error {
	for _, c := range p.Init {
		exit, err := l.command(ctx, p, c)
		if err == nil && exit.Code != 0 {
			err = fmt.Errorf("exit %d", exit.Code)
		}
		if err != nil {
			return fmt.Errorf("%w: %v: %w", control.ErrInitFailed, c, err)
		}
	}
	return nil
}

// finish runs the deinit commands of a fake.
func (l *fakeLoop) finish(p control.Process) {
	ctx := context.Background()
	if p.DeinitTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.DeinitTimeout)
		defer cancel()
	}
	for _, c := range p.Deinit {
		_, _ = l.command(ctx, p, c) // of no concern to how main ended
	}
}

// command runs a probe to its end, or kills it when ctx or the run loop ends.
func (l *fakeLoop) command(ctx context.Context, p control.Process, c control.Command) (control.Exit, error) {
	l.mu.Lock()
	if l.over() || ctx.Err() != nil {
		l.mu.Unlock()
		return control.Exit{}, control.ErrNotRunning
	}
	fp, err := l.spawnLocked(control.Process{Args: c.Args, Env: p.Env, Dir: p.Dir, User: c.User}, control.Stdio{}, nil)
	l.mu.Unlock()
	if err != nil {
		return control.Exit{}, err
	}
	select {
	case <-fp.done:
		return fp.status, nil
	case <-ctx.Done():
	case <-l.ended:
	}
	l.mu.Lock()
	fp.die(syscall.SIGKILL)
	l.mu.Unlock()
	<-fp.done
	return control.Exit{}, control.ErrNotRunning
}
