package runloop_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// Who is detached has nobody's streams.
func TestDetach(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	for name, p := range map[string]control.Process{
		"plain":    sh("read x; seq 1 50000; seq 1 50000 >&2; exit 5"),
		"terminal": tty(`test "$(stty size)" = "30 100" && tty -s && seq 1 50000 && exit 5`),
	} {
		begun := 0
		e, err := s.Detach(t.Context(), p, func(pid int) error { begun = pid; return nil })
		if err != nil || begun == 0 || e.Code != 5 {
			t.Errorf("%s: pid %d, exit %+v, %v", name, begun, e, err)
		}
	}
	none := func(int) error { t.Error("nothing has begun"); return nil }
	if _, err := s.Detach(t.Context(), control.Process{Args: []string{"/no/such"}}, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := s.Detach(t.Context(), sh("exit 0"), func(int) error { return errors.New("not now") }); err == nil {
		t.Error("the error of who is told is lost")
	}
	release(t, s)
	s.wait()
	if _, err := s.Detach(t.Context(), sh("exit 0"), none); err == nil {
		t.Error("something is started after the end")
	}
	if got := s.logged(logfile.Stdout) + s.logged(logfile.Stderr); got != "" {
		t.Errorf("log %q", got)
	}
}

// However many are detached, what runs can be asked and stopped.
func TestDetachedAreBounded(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	ctx, leave := context.WithCancel(t.Context())
	var ends sync.WaitGroup
	admitted := 0
	for ; admitted < 1000; admitted++ {
		begun, failed := make(chan struct{}), make(chan error, 1)
		ends.Go(func() {
			_, err := s.Detach(ctx, sh("sleep 1000"), func(int) error { close(begun); return nil })
			failed <- err
		})
		select {
		case <-begun:
			continue
		case err := <-failed:
			if err == nil || !strings.Contains(err.Error(), "256 commands run in the background already") {
				t.Error(err)
			}
		}
		break
	}
	if admitted != 256 {
		t.Errorf("%d are detached", admitted)
	}
	if _, err := s.State(t.Context()); err != nil {
		t.Error(err)
	}
	if e, err := s.Exec(t.Context(), sh("exit 3"), control.Stdio{}); err != nil || e.Code != 3 {
		t.Errorf("%+v, %v", e, err)
	}
	leave()
	ends.Wait()
	release(t, s)
	s.wait()
}

// What is detached goes on when who has started it goes away, and ends with the
// container.
func TestDetachedGoesOn(t *testing.T) {
	s := newSite(t, fakeConfig{})
	s.start(sh("read x <"+fifo(t, s)), control.Stdio{})
	for _, make := range []func(string) control.Process{sh, tty} {
		gate, mark := s.dir+"/gate", s.dir+"/mark"
		must(t, unix.Mkfifo(gate, 0o600))
		ctx, leave := context.WithCancel(t.Context())
		_, err := s.Detach(ctx, make("read x <"+gate+"; echo on; echo on >"+mark), func(int) error { leave(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		must(t, os.WriteFile(gate, []byte("\n"), 0))
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if b, err := os.ReadFile(mark); err == nil && string(b) == "on\n" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not go on")
			}
		}
		must(t, errors.Join(os.Remove(gate), os.Remove(mark)))
	}
	begun, ends := make(chan struct{}), make(chan control.Exit, 1)
	go func() {
		e, err := s.Detach(t.Context(), sh("sleep 1000"), func(int) error { close(begun); return nil })
		if err != nil {
			t.Error(err)
		}
		ends <- e
	}()
	<-begun
	release(t, s)
	s.wait()
	if e := <-ends; e.Signal != 9 {
		t.Errorf("%+v", e)
	}
}
