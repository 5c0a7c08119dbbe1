package cli_test

import (
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// Containers are waited for all at once, and told in the order of the arguments.
func TestWait(t *testing.T) {
	f := newFake(t)
	release := map[string]chan int{"a": make(chan int), "b": make(chan int)}
	f.programs["held"] = func(p *process) api.Exit { return api.Exit{Code: <-release[p.args[1]]} }
	for name := range release {
		if r := f.xc(t, "run", "-d", "--name", name, "alpine:3", "held", name); r.code != 0 {
			t.Fatal(r)
		}
	}
	go func() {
		for range 2 {
			<-f.waits
		}
		release["b"] <- 2
		release["a"] <- 1
	}()
	r := f.xc(t, "wait", "--condition", "next-exit", "a", "b", "a")
	if r.code != 0 || r.out != "1\n2\n" {
		t.Errorf("%+v", r)
	}
	if !f.noted("wait a next-exit") || !f.noted("wait b next-exit") {
		t.Errorf("calls: %q", f.made())
	}
	for _, tc := range []struct{ args, call, errout string }{
		{"a --condition exited", "wait a not-running", ""}, {"--condition stopped b", "wait b not-running", ""},
		{"--condition removed a", "wait a removed", ""}, {"--condition healthy a", "", "expected not-running or next-exit"},
		{"nosuch", "", `container "nosuch"`},
	} {
		r := f.xc(t, append([]string{"wait"}, strings.Fields(tc.args)...)...)
		if (tc.errout == "") != (r.code == 0) || !strings.Contains(r.errout, tc.errout) || tc.call != "" && !f.noted(tc.call) {
			t.Errorf("wait %s: %+v, %q", tc.args, r, f.made())
		}
	}
}
