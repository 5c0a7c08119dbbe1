package tenant

import (
	"reflect"
	"strings"
	"syscall"
	"testing"
)

var requests = []request{
	{setup: &setupRequest{
		root:     Root{Kind: Overlay, Lower: []string{"/b", "/a"}, Upper: "/u", Work: "/w", Volatile: true},
		readOnly: true, mounts: []string{"/data"}, hostname: "box", network: true, cgroup: true, shmSize: 1 << 30, filter: "\x00\xff",
	}},
	{setup: &setupRequest{root: Root{Kind: Bind, Dir: "/r"}}},
	{start: &startRequest{args: []string{"sh", "", strings.Repeat("x", 1<<17)}, env: []string{"A=b"}, dir: "/", user: "ann", terminal: true}},
	{killAll: true},
	{pty: true},
}

var messages = []message{
	{answer: true},
	{answer: true, pid: 1 << 22},
	{answer: true, err: &Error{Op: "exec", Object: "/x", Errno: syscall.ENOENT, Msg: "m"}},
	{none: true},
	{exits: []exit{{2, 0x700}, {3, 0x8b}}, none: true},
}

func TestMessages(t *testing.T) {
	for _, want := range requests {
		var e encoder
		want.encode(&e)
		var got request
		if err := got.decode(e); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		for n := range min(len(e), 200) {
			if err := new(request).decode(e[:n]); err == nil {
				t.Errorf("%+v cut off at %d is accepted", want, n)
			}
		}
		if err := new(request).decode(append(e, 0)); err == nil {
			t.Errorf("%+v and one byte more is accepted", want)
		}
	}
	for _, want := range messages {
		var e encoder
		want.encode(&e)
		var got message
		if err := got.decode(e); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages {
		var e encoder
		m.encode(&e)
		f.Add([]byte(e))
	}
	for _, q := range requests {
		var e encoder
		q.encode(&e)
		f.Add([]byte(e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again message
		if m.decode(b) == nil {
			var e encoder
			m.encode(&e)
			if err := again.decode(e); err != nil || !reflect.DeepEqual(m, again) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
		var q request
		_ = q.decode(b) // must not panic
	})
}
