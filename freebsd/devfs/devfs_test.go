package devfs

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, r := range []Rule{
		{}, {Hide: true}, {Path: "null", Unhide: true}, {Path: "pts/*", Unhide: true, Owner: &Owner{0, 4}, Mode: 0o620},
		{Include: 4}, {Path: strings.Repeat("p", rulePathSize-1), Mode: 0o777},
	} {
		b, err := r.encode(1000, 300)
		if err != nil || len(b) != ruleSize || native.Uint32(b) != ruleMagic || native.Uint32(b[ruleID:]) != 1000<<16|300 {
			t.Fatalf("%+v: %v", r, err)
		}
		if got, n := decode(b); !reflect.DeepEqual(got, r) || n != 300 {
			t.Errorf("%+v became %+v, %d", r, got, n)
		}
		if !r.equal(r) || r.equal(Rule{Path: "other"}) {
			t.Errorf("%+v: equal", r)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, r := range []Rule{
		{Hide: true, Unhide: true}, {Path: strings.Repeat("p", rulePathSize)}, {Path: "a\x00b"}, {Mode: 0o4755 | 1<<20}, {Include: 1000},
	} {
		if err := Set(1000, r); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := Set(0, Rule{Hide: true}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("number 0: %v", err)
	}
}

func TestNeeds(t *testing.T) {
	show := func(n Needs) string {
		var s []string
		for _, r := range n.Rules() {
			if r.Hide != (r.Path == "") || r.Hide == r.Unhide || r.Include != 0 {
				t.Errorf("rule %+v", r)
			}
			s = append(s, r.Path)
		}
		return strings.Join(s, " ")
	}
	minimum := " null zero full random urandom crypto fd fd/* stdin stdout stderr"
	if got := show(Needs{}); got != minimum {
		t.Errorf("minimum: %q", got)
	}
	if got, want := show(Needs{Terminal: true, Linux: true, Paths: []string{"dri/card*", "a/b/c", "null"}}),
		minimum+" ptmx pts pts/* shm dri dri/card* a a/b a/b/c"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if slices.ContainsFunc(Needs{}.Rules(), func(r Rule) bool { return strings.HasPrefix(r.Path, "mem") || r.Path == "zfs" }) {
		t.Error("too much")
	}
}

func TestShows(t *testing.T) {
	rules := Needs{Paths: []string{"dri/*", "bpf?"}}.Rules()
	for device, want := range map[string]bool{"null": true, "dri": true, "dri/*": true, "dri/card0": true, "bpf0": true, "bpf": false, "pf": false, "dri/a/b": false} {
		if got := Shows(rules, device); got != want {
			t.Errorf("%s: %v", device, got)
		}
	}
	if !Shows(nil, "pf") || !Shows([]Rule{{Path: "null", Hide: true}}, "pf") {
		t.Error("without a rule that hides it, it is in sight")
	}
	if Shows(append(rules, Rule{Path: "dri/*", Hide: true}), "dri/card0") {
		t.Error("the last rule holds")
	}
}
