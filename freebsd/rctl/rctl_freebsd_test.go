package rctl

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

func TestIntegrationLife(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to set limits: run with go test -exec sudo")
	}
	if !Enabled() {
		t.Skip("needs kern.racct.enable=1 in loader.conf and a reboot")
	}
	s := Jail(fmt.Sprintf("xctest%drctl", os.Getpid()))
	rules := []Rule{{s, "maxproc", "deny", 10, ""}, {s, "openfiles", "sigterm", 99, "process"}}
	if err := Add(rules...); err != nil {
		t.Fatal(err)
	}
	got, err := Rules(s)
	if err != nil || len(got) != 2 || !slices.Contains(got, rules[0]) || !slices.Contains(got, rules[1]) {
		t.Errorf("rules %v, %v", got, err)
	}
	usage, err := Usage(s)
	if n, ok := usage["maxproc"]; err != nil || !ok || n != 0 || len(usage) < 20 {
		t.Errorf("usage %v, %v", usage, err)
	}
	if own, err := Usage(Subject(fmt.Sprintf("process:%d", os.Getpid()))); err != nil || own["nthr"] == 0 {
		t.Errorf("own usage %v, %v", own, err)
	}
	if err := Add(Rule{s, "nosuchresource", "deny", 1, ""}); err == nil {
		t.Error("an unknown resource was accepted")
	}
	for range 2 {
		if err := Remove(s); err != nil {
			t.Error(err)
		}
	}
	if got, err := Rules(s); err != nil || len(got) != 0 {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}
