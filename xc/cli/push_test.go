package cli_test

import (
	"strings"
	"testing"
)

func TestPush(t *testing.T) {
	f := newFake(t)
	r := f.xc(t, "push", "alpine:3", "reg.lan/a:1", "--index")
	if r.out != "sha256:pushed\n" || !f.noted("push alpine:3 reg.lan/a:1 true") || !strings.Contains(r.errout, "uploading") {
		t.Errorf("%+v %q", r, f.made())
	}
	if r := f.xc(t, "push", "-q", "alpine:3"); r.out != "sha256:pushed\n" || r.errout != "" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "push", "nothing"); r.code != 125 {
		t.Errorf("%+v", r)
	}
}

func TestLogin(t *testing.T) {
	f := newFake(t)
	a, done := f.app(t, "secret word\n")
	r := done(a.Run(t.Context(), []string{"login", "-u", "me", "--password-stdin", "reg.lan:5000"}))
	if r.out != "Logged in to docker.io\n" || !f.noted("login reg.lan:5000 me secret word") {
		t.Errorf("%+v %q", r, f.made())
	}
	if r := f.xc(t, "logout"); r.out != "Logged out of docker.io\n" || !f.noted("logout ") {
		t.Errorf("%+v %q", r, f.made())
	}
	for args, want := range map[string]string{
		"login --password-stdin": "needs --username",
		"login -u me":            "--password-stdin",
		"login -p x":             "unknown shorthand flag",
	} {
		if r := f.xc(t, strings.Fields(args)...); r.code != 125 || !strings.Contains(r.errout, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
