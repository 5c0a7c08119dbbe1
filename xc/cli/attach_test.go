package cli_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// Who is detached gets no descriptors, and is not waited for.
func TestExecDetached(t *testing.T) {
	f := newFake(t)
	standard(f)
	f.xc(t, "create", "--name", "web", "alpine:3", "exit", "0")
	over := make(chan struct{})
	f.programs["long"] = func(p *process) api.Exit {
		<-over
		return f.programs["background"](p)
	}
	for _, args := range []string{"exec -d web long", "exec --detach -t web long"} {
		if r := f.xc(t, strings.Fields(args)...); r.code != 0 || r.out+r.errout != "" {
			t.Errorf("xc %s: %+v", args, r)
		}
	}
	close(over)
	for range 2 {
		if exit := <-f.detached; exit.Code != 3 {
			t.Error("it has descriptors")
		}
	}
	for _, tty := range []bool{false, true} {
		if call := fmt.Sprintf("detached tty=%v id=true size={0 0}", tty); !f.noted(call) {
			t.Errorf("no %q among %q", call, f.made())
		}
	}
}

// The daemon goes away while a container runs: xc stays and returns its code.
func TestReconnect(t *testing.T) {
	f := newFake(t)
	f.programs["work"] = func(*process) api.Exit {
		<-f.waits // asked before the start
		f.hangUp()
		<-f.waits // asked again
		return api.Exit{Code: 5}
	}
	if r := f.xc(t, "run", "--rm", "alpine:3", "work"); r.code != 5 {
		t.Errorf("%+v", r)
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	f := newFake(t)
	f.programs["trap"] = func(p *process) api.Exit {
		var got []string
		// A program of a fake starts sooner than any: before xc keeps signals the
		// runtime drops this one.
		for len(p.signals) == 0 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil {
				return api.Exit{Code: 97}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT} {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				return api.Exit{Code: 99}
			}
			for next := "USR2"; next == "USR2"; {
				select {
				case next = <-p.signals:
				case <-time.After(10 * time.Second):
					return api.Exit{Code: 98}
				}
				if next != "USR2" {
					got = append(got, next)
				}
			}
		}
		fmt.Fprint(p.stdout, got)
		return api.Exit{Code: 143}
	}
	if r := f.xc(t, "run", "alpine:3", "trap"); r.code != 143 || r.out != "[USR1 TERM INT]" {
		t.Errorf("%+v", r)
	}
}

func TestAttach(t *testing.T) {
	f := newFake(t)
	f.programs["serve"] = func(*process) api.Exit {
		<-f.attached
		return api.Exit{Code: 6}
	}
	if r := f.xc(t, "run", "-d", "--name", "web", "alpine:3", "serve"); r.code != 0 {
		t.Fatal(r)
	}
	if r := f.xc(t, "attach", "--replay", "--no-replay", "web"); r.code != 125 || !strings.Contains(r.errout, "choose one") {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "attach", "web"); r.code != 6 || r.out != "attached\nlast words\n" { // it reads nothing
		t.Errorf("%+v", r)
	}
	for flag, want := range map[string]string{"--sig-proxy": "attach stdin=true", "--no-stdin": "attach stdin=false"} {
		f.calls = nil
		if r := f.xc(t, "run", "-di", "--name", "reads"+flag, "alpine:3", "serve"); r.code != 0 {
			t.Fatal(r)
		}
		if r := f.xc(t, "attach", flag, "reads"+flag); r.code != 6 || !f.noted(want) {
			t.Errorf("attach %s: %+v, calls %q", flag, r, f.made())
		}
	}
	for i, tc := range []struct {
		flags []string
		out   string
	}{
		{[]string{"-t"}, "earlier\nattached\nlast words\n"}, {[]string{"-t", "--no-replay"}, "attached\nlast words\n"},
		{nil, "attached\nlast words\n"}, {[]string{"--replay"}, "earlier\nattached\nlast words\n"},
	} {
		name := fmt.Sprintf("r%d", i)
		run := []string{"run", "-d", "--name", name, "alpine:3", "serve"}
		attach := []string{"attach", name}
		if len(tc.flags) > 0 && tc.flags[0] == "-t" {
			run = slices.Insert(run, 1, "-t")
			attach = append(attach, tc.flags[1:]...)
		} else {
			attach = append(attach, tc.flags...)
		}
		if r := f.xc(t, run...); r.code != 0 {
			t.Fatal(r)
		}
		if r := f.xc(t, attach...); r.code != 6 || r.out != tc.out {
			t.Errorf("%q: %+v", attach, r)
		}
	}
}
