package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/proc"
)

// A main is a script, how it ends when it is left alone, and what it has written
// last by then. %d is the code, %s a word that marks its processes.
type chaosMain struct {
	name   string
	script string
	signal string // ends by this signal instead of with the code
	lasts  bool   // only ends when somebody ends it
	heeds  bool   // SIGTERM: by dying of it
}

var chaosMains = []chaosMain{
	{name: "exit", script: "echo end; exit %d # %s"},
	{name: "slow", script: "sleep 0.3; echo end; exit %d # %s"},
	{name: "crash", script: "echo end; kill -SEGV $$; sleep 100; exit %d # %s", signal: "SEGV"},
	{name: "daemonise", script: "(sh -c 'sleep 0.4; echo end # %[2]s' &) ; exit %[1]d"},
	{name: "orphans", script: "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.'$i' # %[2]s' &) ; done; echo end; exit %[1]d"},
	{name: "fork storm", script: "i=0; while [ $i -lt 300 ]; do (:) & i=$((i+1)); done; wait; echo end; exit %d # %s"},
	{name: "fill the log", script: "yes 'a line of the log that is filled' | head -c 300000; echo; echo end; exit %d # %s"},
	{name: "heeds", script: "echo end; sleep 1000; exit %d # %s", lasts: true, heeds: true},
	{name: "ignores", script: "trap '' TERM; echo end; sleep 1000; sleep 1000; exit %d # %s", lasts: true},
	{name: "restless", script: "echo end; while :; do (:) ; done; exit %d # %s", lasts: true, heeds: true},
	{name: "family", script: "trap '' TERM; echo end; (sh -c 'sleep 1000 # %[2]s' &) ; sh -c 'sleep 1000; : %[2]s'; exit %[1]d", lasts: true},
}

// chaosLife is one container from its record to its removal.
type chaosLife struct {
	*chaos
	rnd    *rand.Rand
	name   string
	id     string
	main   chaosMain
	code   int
	auto   bool
	unsure bool // the daemon was killed while it was starting it
	looped bool // its run loop was sent SIGKILL
	ended  string
}

func (c *chaos) life(rnd *rand.Rand, name string) {
	l := &chaosLife{chaos: c, rnd: rnd, name: name, main: chaosMains[rnd.IntN(len(chaosMains))], code: rnd.IntN(120), auto: rnd.IntN(4) == 0}
	steps := []struct {
		what string
		do   func() error
	}{{"create", l.create}, {"start", l.start}, {"disturb", l.disturb}, {"end", l.end}, {"wait", l.wait}, {"remove", l.remove}}
	for _, s := range steps {
		if err := s.do(); err != nil {
			c.failf("%s (%s, %s, auto remove %v, start broken off %v, run loop killed %v, %s): %s: %v", name, l.id, l.main.name, l.auto, l.unsure, l.looped, l.ended, s.what, err)
			return
		}
	}
	c.mu.Lock()
	c.lives++
	c.mu.Unlock()
}

func (l *chaosLife) ask(what string, f func(context.Context, api.Engine) error) (again bool, err error) {
	return l.retry(what+" "+l.name, f)
}

func (l *chaosLife) create() error {
	script := fmt.Sprintf(l.main.script, l.code, chaosMark(l.dir))
	spec := api.ContainerSpec{Name: l.name, Image: "root", Command: []string{"sh", "-c", script}, AutoRemove: l.auto}
	again, err := l.ask("create", func(ctx context.Context, e api.Engine) error {
		c, err := e.CreateContainer(ctx, spec)
		l.id = c.ID
		return err
	})
	if again && errors.Is(err, fs.ErrExist) { // it was made, and the answer lost
		_, err = l.ask("inspect", func(ctx context.Context, e api.Engine) error {
			c, err := e.InspectContainer(ctx, l.name)
			l.id = c.ID
			return err
		})
	}
	if err == nil {
		l.mu.Lock()
		l.ids = append(l.ids, l.id)
		l.mu.Unlock()
	}
	return err
}

// start starts main once.
func (l *chaosLife) start() error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), chaosPatience)
		err := l.call(ctx, func(ctx context.Context, e api.Engine) error {
			return e.StartContainer(ctx, l.id, api.StartOptions{})
		})
		cancel()
		if !broken(err) {
			return err
		}
		l.unsure = true
		c, err := l.inspect()
		switch {
		case errors.Is(err, fs.ErrNotExist) && l.auto:
			return nil // it has ended already
		case err != nil:
			return err
		case c.State != api.StateCreated:
			return nil
		}
	}
}

func (l *chaosLife) inspect() (c api.Container, err error) {
	_, err = l.ask("inspect", func(ctx context.Context, e api.Engine) error {
		c, err = e.InspectContainer(ctx, l.id)
		return err
	})
	return c, err
}

// disturb does a few things to a container that may not be there any more.
func (l *chaosLife) disturb() error {
	for range l.rnd.IntN(4) {
		time.Sleep(time.Duration(l.rnd.IntN(200)) * time.Millisecond)
		if err := []func() error{l.exec, l.attach, l.logs, l.processes, l.killLoop}[l.rnd.IntN(5)](); err != nil {
			return err
		}
	}
	return nil
}

// gone says that a container which can end by itself has ended, or an error of
// asking it something says that it is ending.
func (l *chaosLife) gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, api.ErrNotRunning) || broken(err)
}

// exec runs a command beside main: its code is right, or the container has ended.
func (l *chaosLife) exec() error {
	want := l.rnd.IntN(120)
	var exit api.Exit
	ctx, cancel := context.WithTimeout(context.Background(), chaosPatience)
	defer cancel()
	err := l.call(ctx, func(ctx context.Context, e api.Engine) (err error) {
		exit, err = e.ExecContainer(ctx, l.id, api.ExecOptions{Args: []string{"sh", "-c", fmt.Sprintf("sleep 0.1; exit %d # %s", want, chaosMark(l.dir))}})
		return err
	})
	switch {
	case ctx.Err() != nil:
		l.hangs("exec in "+l.name, err)
		return err
	case err != nil && l.gone(err):
		return nil
	case err != nil:
		return fmt.Errorf("exec: %w", err)
	case exit.Code == want, exit.Code == 137 && (!l.main.lasts || l.looped): // ended with the container
		return nil
	}
	return fmt.Errorf("exec ended with %+v, want %d", exit, want)
}

// attach reads a little and goes away.
func (l *chaosLife) attach() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- l.call(ctx, func(ctx context.Context, e api.Engine) error {
			return e.AttachContainer(ctx, l.id, api.AttachOptions{Stdio: api.Stdio{Stdout: w}, Replay: true})
		})
		w.Close()
	}()
	if err := r.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	io.CopyN(io.Discard, r, 1000) //nolint:errcheck // there may be less
	r.Close()
	if err := <-done; err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) && !l.gone(err) {
		return fmt.Errorf("attach: %w", err)
	}
	return nil
}

func (l *chaosLife) logs() error {
	_, err := l.ask("logs of", func(ctx context.Context, e api.Engine) error {
		return e.ContainerLogs(ctx, l.id, api.LogOptions{}, func(api.LogEntry) error { return nil })
	})
	if err != nil && !l.gone(err) {
		return fmt.Errorf("logs: %w", err)
	}
	return nil
}

func (l *chaosLife) processes() error {
	_, err := l.ask("processes of", func(ctx context.Context, e api.Engine) error {
		_, err := e.ContainerProcesses(ctx, l.id)
		return err
	})
	if err != nil && !l.gone(err) {
		return fmt.Errorf("processes: %w", err)
	}
	return nil
}

// killLoop kills the run loop, seldom.
func (l *chaosLife) killLoop() error {
	if l.rnd.IntN(2) == 0 {
		return nil
	}
	c, err := l.inspect()
	if err != nil || c.Pid == 0 {
		return nil // it has ended
	}
	for pid := c.Pid; pid > 1; {
		p, err := proc.Read(pid)
		if err != nil {
			return nil // as well
		}
		if slices.Contains(p.Args, l.id) {
			l.looped = true
			l.mu.Lock()
			l.loops++
			l.mu.Unlock()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return err
			}
			return nil
		}
		pid = p.Parent
	}
	return nil
}

// end ends what does not end by itself, and sometimes what would.
func (l *chaosLife) end() error {
	if !l.main.lasts && l.rnd.IntN(4) > 0 {
		return nil
	}
	err := l.ready()
	if err != nil {
		return err
	}
	if l.rnd.IntN(3) > 0 {
		timeout := l.rnd.IntN(2)
		l.ended = fmt.Sprintf("stopped with timeout %d", timeout)
		_, err = l.ask("stop", func(ctx context.Context, e api.Engine) error {
			return e.StopContainer(ctx, l.id, api.StopOptions{Timeout: &timeout})
		})
	} else {
		l.ended = "killed"
		for { // KILL ends main; of what it leaves behind nobody said anything
			_, err = l.ask("kill", func(ctx context.Context, e api.Engine) error { return e.KillContainer(ctx, l.id, "KILL") })
			if err != nil || !l.main.lasts {
				break
			}
			if c, ierr := l.inspect(); ierr != nil || c.State != api.StateRunning || l.main.name == "family" {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if l.main.name == "family" && err == nil {
			zero := 0
			_, err = l.ask("stop", func(ctx context.Context, e api.Engine) error {
				return e.StopContainer(ctx, l.id, api.StopOptions{Timeout: &zero})
			})
		}
	}
	if err != nil && !l.gone(err) {
		return err
	}
	return nil
}

// ready waits until a main that ignores SIGTERM does so.
func (l *chaosLife) ready() error {
	for end := time.Now().Add(chaosPatience); l.main.lasts && !l.main.heeds; time.Sleep(20 * time.Millisecond) {
		last, err := l.lastOutput()
		if err != nil && !l.gone(err) {
			return err
		}
		c, err := l.inspect()
		if strings.HasSuffix(last, "end\n") || err != nil || c.State != api.StateRunning {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("its log ends with %q", last)
		}
	}
	return nil
}

// allowed are the codes that main may have ended with.
func (l *chaosLife) allowed() []int {
	own := l.code
	if l.main.signal == "SEGV" {
		own = 128 + int(syscall.SIGSEGV)
	}
	switch {
	case l.ended == "":
		return []int{own}
	case l.main.lasts && (l.ended == "killed" || !l.main.heeds):
		return []int{137}
	case l.main.lasts && strings.HasSuffix(l.ended, "0"):
		return []int{137, 143} // both signals are on their way
	case l.main.lasts:
		return []int{143, 137} // or too slow for a second
	}
	return []int{own, 137, 143}
}

func (l *chaosLife) wait() error {
	exit, err := l.waitOnce()
	if err != nil {
		return err
	}
	if exit.Lost {
		l.mu.Lock()
		l.lost++
		l.mu.Unlock()
	}
	switch {
	case exit.Lost && exit.Code == 137 && l.looped:
	case exit.Code == 125 && l.unsure && strings.Contains(exit.Error, "before main was started"):
		return nil // and its log is empty
	case exit.Lost || exit.Error != "" || !slices.Contains(l.allowed(), exit.Code):
		return fmt.Errorf("ended with %+v, want %v", exit, l.allowed())
	}
	again, err := l.waitOnce()
	if err == nil && again != exit {
		return fmt.Errorf("ended with %+v, and asked again with %+v", exit, again)
	}
	if err != nil || l.auto || exit.Lost {
		return err
	}
	if l.ended == "" {
		return l.checkLog()
	}
	return nil
}

func (l *chaosLife) waitOnce() (exit api.Exit, err error) {
	_, err = l.ask("wait for", func(ctx context.Context, e api.Engine) error {
		exit, err = e.WaitContainer(ctx, l.id, api.WaitOptions{})
		return err
	})
	return exit, err
}

// checkLog: the last line is the last.
func (l *chaosLife) checkLog() error {
	last, err := l.lastOutput()
	if err == nil && !strings.HasSuffix(last, "end\n") {
		err = fmt.Errorf("the log ends with %q", last)
	}
	return err
}

// lastOutput is the end of the log.
func (l *chaosLife) lastOutput() (string, error) {
	var last []byte
	_, err := l.ask("logs of", func(ctx context.Context, e api.Engine) error {
		last = nil
		return e.ContainerLogs(ctx, l.id, api.LogOptions{}, func(entry api.LogEntry) error {
			last = append(last, entry.Data...)
			last = last[max(0, len(last)-100):]
			return nil
		})
	})
	return string(last), err
}

func (l *chaosLife) remove() error {
	again, err := l.ask("remove", func(ctx context.Context, e api.Engine) error {
		return e.RemoveContainer(ctx, l.id, api.RemoveOptions{})
	})
	if errors.Is(err, fs.ErrNotExist) && (again || l.auto) {
		return nil
	}
	return err
}
