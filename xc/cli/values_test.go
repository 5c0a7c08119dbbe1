package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseKeys(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "CTRL-A,b": "\x01b", "ctrl-@,ctrl-[,ctrl-_": "\x00\x1b\x1f", "A": "A",
	} {
		if got, err := parseKeys(in); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"ctrl-", "ctrl-ab", "ctrl-1", "ab", ",", "a,"} {
		if got, err := parseKeys(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestKeyFilter(t *testing.T) {
	for _, c := range []struct {
		keys, in, out string
		detach        bool
	}{
		{"", "abc", "abc", false},
		{"pq", "abc", "abc", false},
		{"pq", "pq", "", true},
		{"pq", "apqb", "a", true},
		{"pq", "papb", "papb", false},
		{"pq", "ppq", "p", true},
		{"aab", "aaab", "a", true},
		{"abac", "ababac", "ab", true},
		{"pq", "xp", "x", false}, // held back
	} {
		whole := keyFilter{keys: []byte(c.keys)}
		if out, detach := whole.write([]byte(c.in)); string(out) != c.out || detach != c.detach {
			t.Errorf("keys %q, typed %q: %q, %v", c.keys, c.in, out, detach)
		}
		var single bytes.Buffer
		one, detached := keyFilter{keys: []byte(c.keys)}, false
		for i := 0; i < len(c.in) && !detached; i++ {
			var out []byte
			out, detached = one.write([]byte{c.in[i]})
			single.Write(out)
		}
		if single.String() != c.out || detached != c.detach {
			t.Errorf("keys %q, typed one by one %q: %q, %v", c.keys, c.in, single.String(), detached)
		}
	}
}

// Whatever is typed comes out in order, up to the first place where the keys
// are, but for what may still become them.
func FuzzKeyFilter(f *testing.F) {
	f.Add("pq", "apppqb", 2)
	f.Add("aab", "aaab", 1)
	f.Add("abab", "abaabab", 3)
	f.Fuzz(func(t *testing.T, keys, typed string, step int) {
		if keys == "" || len(keys) > 50 || step < 1 {
			return
		}
		k := keyFilter{keys: []byte(keys)}
		var out []byte
		detached := false
		for rest := typed; rest != "" && !detached; {
			n := min(step, len(rest))
			var b []byte
			b, detached = k.write([]byte(rest[:n]))
			out = append(out, b...)
			rest = rest[n:]
		}
		before, _, there := strings.Cut(typed, keys)
		switch {
		case there != detached:
			t.Errorf("keys %q, typed %q: detached %v", keys, typed, detached)
		case there && string(out) != before:
			t.Errorf("keys %q, typed %q: %q, want %q", keys, typed, out, before)
		case !there && string(out)+keys[:k.held] != typed:
			t.Errorf("keys %q, typed %q: %q, held %d", keys, typed, out, k.held)
		}
	})
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "10m": now.Add(-10 * time.Minute), "1700000000": time.Unix(1700000000, 0), "1.5": time.Unix(1, 5e8),
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
	} {
		if got, err := moment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"yesterday", "1e99", "NaN"} {
		if got, err := moment(in, now); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestHumanWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "Less than a second", 0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds",
		90 * time.Second: "About a minute", 2 * time.Minute: "2 minutes", 90 * time.Minute: "90 minutes", 47 * time.Hour: "47 hours",
		49 * time.Hour: "2 days", 15 * 24 * time.Hour: "2 weeks", 65 * 24 * time.Hour: "2 months", 800 * 24 * time.Hour: "2 years",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 7654321: "7.65MB", 123456789012: "123GB", 999999: "1MB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for in, want := range map[string]string{
		"docker.io/library/alpine:3": "alpine:3", "docker.io/a/b:1": "a/b:1", "ghcr.io/a/b:1": "ghcr.io/a/b:1",
		"docker.io/library/a/b:1": "library/a/b:1", "docker.io/localhost/b:1": "docker.io/localhost/b:1", "": "",
	} {
		if got := familiar(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string][3]string{
		"a:1": {"a", "1", ""}, "r:5000/a": {"r:5000/a", "", ""}, "r:5000/a:1@sha256:x": {"r:5000/a", "1", "sha256:x"},
	} {
		r, tag, d := splitRef(in)
		if got := [3]string{r, tag, d}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
