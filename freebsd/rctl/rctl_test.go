package rctl

import (
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestRules(t *testing.T) {
	in := "jail:web:maxproc:deny=10,jail:web:memoryuse:sigkill=67108864/process,jail:web:openfiles:log=5/jail"
	want := []Rule{
		{Jail("web"), "maxproc", "deny", 10, ""},
		{Jail("web"), "memoryuse", "sigkill", 67108864, "process"},
		{Jail("web"), "openfiles", "log", 5, ""},
	}
	got, err := parseRules(in)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	var again []string
	for _, r := range got {
		again = append(again, r.String())
	}
	if s := strings.Join(again, ","); s != strings.TrimSuffix(in, "/jail") {
		t.Errorf("written as %s", s)
	}
	for _, bad := range []string{"jail:web:maxproc", "jail:web:maxproc:deny", "jail:web:maxproc:deny=x", "a:b:c:d=1:e"} {
		if got, err := parseRules(bad); err == nil {
			t.Errorf("%s became %v", bad, got)
		}
	}
	for _, r := range []Rule{
		{}, {Subject: "jail:", Resource: "maxproc", Action: "deny"}, {Subject: "web", Resource: "maxproc", Action: "deny"},
		{Subject: "jail:a:b", Resource: "maxproc", Action: "deny"}, {Subject: Jail("a"), Resource: "max:proc", Action: "deny"},
		{Subject: Jail("a"), Resource: "maxproc", Action: "deny=1,jail:b:maxproc:deny"}, {Subject: Jail("a"), Resource: "maxproc"},
	} {
		if err := Add(r); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, s := range []Subject{"", ":", "jail:", "jail", "jail:a,jail:b"} {
		_, err1 := Rules(s)
		_, err2 := Usage(s)
		for _, err := range []error{err1, err2, Remove(s)} {
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%q: %v", s, err)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	got, err := parseUsage("cputime=0,memoryuse=18446744073709551615,pcpu=7")
	if err != nil || got["memoryuse"] != 1<<64-1 || got["pcpu"] != 7 || len(got) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"cputime", "cputime=-1", "=,"} {
		if got, err := parseUsage(bad); err == nil {
			t.Errorf("%q became %v", bad, got)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add("jail:web:maxproc:deny=10,jail:web:memoryuse:sigkill=67108864/process")
	f.Fuzz(func(t *testing.T, in string) {
		rules, err := parseRules(in)
		if err != nil {
			return
		}
		for _, r := range rules {
			if again, err := parseRule(r.String()); err != nil || again != r {
				t.Errorf("%q: %v became %v, %v", in, r, again, err)
			}
		}
	})
}
