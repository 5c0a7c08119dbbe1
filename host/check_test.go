package host

import (
	"context"
	"errors"
	"testing"
)

func TestCheckStates(t *testing.T) {
	row := func(there bool, detail string, err error) need {
		return need{area: "a", name: "n", purpose: "p", fix: "f", look: func(context.Context) (bool, string, error) { return there, detail, err }}
	}
	got := check(t.Context(), []need{
		row(true, "1", nil), row(false, "0", nil), row(false, "", errors.New("no\nsuch\tthing")),
	})
	want := []Check{
		{Area: "a", Name: "n", Purpose: "p", State: ok, Detail: "1"},
		{Area: "a", Name: "n", Purpose: "p", State: missing, Detail: "0", Fix: "f"},
		{Area: "a", Name: "n", Purpose: "p", State: unknown, Detail: "no such thing", Fix: "f"},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestModuleNames(t *testing.T) {
	const dep = "kernel/drivers/net/veth.ko.xz:\nkernel/net/bridge/bridge.ko: kernel/net/802/stp.ko\nkernel/net/netfilter/nf-tables.ko:\n"
	for name, want := range map[string]bool{"veth": true, "bridge": true, "stp": false, "nf_tables": true, "net": false} {
		if got := names(dep, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What a host says of itself is complete, whatever it finds.
func TestCheckIsComplete(t *testing.T) {
	h := testHost(t)
	seen := map[string]bool{}
	for _, c := range h.Check(t.Context()) {
		if c.Area == "" || c.Name == "" || c.Purpose == "" {
			t.Errorf("%+v has an empty field", c)
		}
		if (c.State == ok) != (c.Fix == "") {
			t.Errorf("%+v: a command is for what is not there", c)
		}
		if key := c.Area + " " + c.Name; seen[key] {
			t.Errorf("%s twice", key)
		} else {
			seen[key] = true
		}
		t.Logf("%-8s %-10s %-28s %s", c.State, c.Area, c.Name, c.Detail)
	}
}
