package ipc

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// What every server takes is sent before the server's hello has come; what is
// larger waits for it.
func TestCallBeforeHello(t *testing.T) {
	leaks(t)
	mine, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(mine, Limits{})
	ctx := limited(t)
	answers := make(chan error, 2)
	ask := func(method string, in any, files []*os.File) {
		var out string
		_, err := c.Call(ctx, method, in, files, &out)
		if err == nil && out != method {
			err = errors.New("got " + out)
		}
		answers <- err
	}
	go ask("A.Small", "x", []*os.File{text(t, "")})
	theirs.limits = Limits{}.filled()
	theirs.r.limits, theirs.w.stall = theirs.limits, theirs.limits.Stall
	theirs.r.alloc()
	for i, want := range []struct {
		kind kind
		fds  int
	}{{kindHello, 0}, {kindCall, 1}} {
		f, err := theirs.r.next()
		if err != nil || f.kind != want.kind || len(f.fds) != want.fds {
			t.Fatalf("frame %d: kind %d, %d descriptors, %v", i, f.kind, len(f.fds), err)
		}
		f.discard()
	}
	go ask("A.Large", strings.Repeat("x", 2*leastBody), nil)
	if err := theirs.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if f, err := theirs.r.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("frame of kind %d before the hello, %v", f.kind, err)
	}
	if err := theirs.conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := theirs.greet(Limits{}, window); err != nil {
		t.Fatal(err)
	}
	f, err := theirs.r.next()
	if err != nil || f.kind != kindCall || len(f.body) < 2*leastBody {
		t.Fatalf("after the hello: kind %d, %v", f.kind, err)
	}
	id := f.id
	f.discard()
	for _, a := range []struct {
		id   uint64
		body string
	}{{1, `"A.Small"`}, {id, `"A.Large"`}} {
		if err := theirs.w.send(ctx, &message{buf: raw(kindResult, 0, a.id, a.body)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	theirs.r.close()
	if err := errors.Join(c.Close(), theirs.Close()); err != nil {
		t.Error(err)
	}
}

// A server that goes away before its hello has executed nothing.
func TestGoneBeforeHello(t *testing.T) {
	leaks(t)
	mine, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(mine, Limits{})
	answer := make(chan error, 1)
	go func() {
		_, err := c.Call(limited(t), "A.B", nil, nil, nil)
		answer <- err
	}()
	theirs.limits = Limits{}.filled()
	theirs.r.limits = theirs.limits
	theirs.r.alloc()
	for range 2 { // hello and call
		f, err := theirs.r.next()
		if err != nil {
			t.Fatal(err)
		}
		f.discard()
	}
	theirs.r.close()
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; CodeOf(err) != CodeUnavailable || errors.Is(err, ErrLost) {
		t.Errorf("the call: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
