package ipc

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

const (
	newerHello = `{"ipc":1,"body":1000000,"files":64,"window":1000,"pack":["zstd"],"more":{"a":1}}`
	otherHello = `{"ipc":2,"body":1000000,"files":64,"window":1000}`
)

// bare makes an end of a connection one on which a test says what it likes.
func bare(c *Conn) *Conn {
	c.limits = Limits{}.filled()
	c.r.limits, c.w.stall = c.limits, c.limits.Stall
	c.r.alloc()
	return c
}

func expect(t *testing.T, c *Conn, kinds ...kind) {
	t.Helper()
	for i, want := range kinds {
		f, err := c.r.next()
		if err != nil || f.kind != want {
			t.Fatalf("frame %d: kind %d, want %d: %v", i, f.kind, want, err)
		}
		f.discard()
	}
}

// A peer of a later release may say more in its hello.
func TestNewerPeers(t *testing.T) {
	leaks(t)
	client := bare(serve(t, &Server{Handler: func(context.Context, *Request) (any, []*os.File, error) { return "ok", nil, nil }}))
	if _, err := client.conn.Write(frames(raw(kindHello, 0, 0, newerHello), raw(kindCall, 0, 1, "A.B\n"))); err != nil {
		t.Fatal(err)
	}
	expect(t, client, kindHello, kindResult)
	if err := client.Close(); err != nil {
		t.Error(err)
	}

	mine, its, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, server := NewClient(mine, Limits{}), bare(its)
	done := make(chan error, 1)
	go func() {
		var out string
		_, err := c.Call(context.Background(), "A.B", nil, nil, &out)
		if err == nil && out != "ok" {
			err = errors.New(out)
		}
		done <- err
	}()
	expect(t, server, kindHello, kindCall)
	if _, err := server.conn.Write(frames(raw(kindHello, 0, 0, newerHello), raw(kindResult, 0, 1, `"ok"`))); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-done, c.Close(), server.Close()); err != nil {
		t.Error(err)
	}
}

// One of another version of the wire is told so, and nothing is executed.
func TestPeersOfAnotherVersion(t *testing.T) {
	leaks(t)
	mine, its, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: func(context.Context, *Request) (any, []*os.File, error) {
		t.Error("a call was executed")
		return nil, nil, nil
	}}
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(context.Background(), its) }()
	if _, err := mine.conn.Write(frames(raw(kindHello, 0, 0, otherHello), raw(kindCall, 0, 1, "A.B\n"))); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, errProtocol) || !strings.Contains(err.Error(), "version 2, this side 1") {
		t.Errorf("server: %v", err)
	}
	if err := mine.Close(); err != nil {
		t.Error(err)
	}

	for what, gone := range map[string]bool{"stays": false, "hangs up": true} {
		mine, its, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := its.conn.Write(raw(kindHello, 0, 0, otherHello)); err != nil {
			t.Fatal(err)
		}
		if gone {
			if err := its.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c := NewClient(mine, Limits{})
		_, err = c.Call(limited(t), "A.B", nil, nil, nil)
		if CodeOf(err) != CodeUnavailable || !strings.Contains(err.Error(), "version 2, this side 1") {
			t.Errorf("client, the peer %s: %v", what, err)
		}
		if err := errors.Join(c.Close(), its.Close()); err != nil {
			t.Error(err)
		}
	}
}
