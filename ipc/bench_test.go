package ipc

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
)

type small struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// bench returns a client of an echo server over a socket pair.
func bench(b *testing.B, h Handler) *Client {
	b.Helper()
	s := &Server{Handler: h}
	mine, its, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(context.Background(), its) }()
	c := NewClient(mine, Limits{})
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	return c
}

func echo(_ context.Context, r *Request) (any, []*os.File, error) {
	var in small
	if err := r.Decode(&in); err != nil {
		return nil, nil, err
	}
	return in, r.Files, nil
}

func BenchmarkCall(b *testing.B) {
	c := bench(b, echo)
	ctx := context.Background()
	for b.Loop() {
		var out small
		if _, err := c.Call(ctx, "Echo.Echo", small{"abc", 7}, nil, &out); err != nil || out.Count != 7 {
			b.Fatal(out, err)
		}
	}
}

func BenchmarkCall100(b *testing.B) {
	c := bench(b, echo)
	ctx := context.Background()
	var wg sync.WaitGroup
	work := make(chan struct{}, 1024)
	for range 100 {
		wg.Go(func() {
			for range work {
				var out small
				if _, err := c.Call(ctx, "Echo.Echo", small{"abc", 7}, nil, &out); err != nil || out.Count != 7 {
					b.Error(out, err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}

func BenchmarkCall64K(b *testing.B) {
	c := bench(b, echo)
	ctx := context.Background()
	in := small{strings.Repeat("x", 64<<10), 7}
	b.SetBytes(2 * 64 << 10)
	for b.Loop() {
		var out small
		if _, err := c.Call(ctx, "Echo.Echo", in, nil, &out); err != nil || len(out.Name) != len(in.Name) {
			b.Fatal(len(out.Name), err)
		}
	}
}

func BenchmarkCallFile(b *testing.B) {
	c := bench(b, func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil })
	ctx := context.Background()
	f, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		if _, err := c.Call(ctx, "Echo.File", nil, []*os.File{f}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPingPong is the floor: two goroutines and a socket pair, no JSON.
func BenchmarkPingPong(b *testing.B) {
	x, y, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 100)
		for {
			n, err := y.conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := y.conn.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 50)
	for b.Loop() {
		if _, err := x.conn.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := x.conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}
