package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCall(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var in map[string]int
		if err := r.Decode(&in); err != nil {
			return nil, nil, err
		}
		in["b"] = in["a"] + 1
		return in, nil, nil
	})
	var out map[string]int
	if _, err := c.Call(limited(t), "A.B", map[string]int{"a": 1}, nil, &out); err != nil || out["b"] != 2 {
		t.Fatalf("%v, %v", out, err)
	}
	if _, err := c.Call(limited(t), "A.B", []int{1}, nil, &out); CodeOf(err) != CodeInvalid || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("wrong parameters: %v", err)
	}
	if _, err := c.Call(limited(t), "A.B", map[string]int{"a": 1}, nil, &[]string{}); err == nil || !strings.Contains(err.Error(), "result") {
		t.Errorf("wrong result: %v", err)
	}
	if _, err := c.Call(limited(t), "A.B", make(chan int), nil, nil); err == nil || !strings.Contains(err.Error(), "parameters") {
		t.Errorf("parameters that JSON does not have: %v", err)
	}
	if _, err := c.Call(limited(t), strings.Repeat("x", 1000), nil, nil, nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("long method: %v", err)
	}
}

// A server does not ignore what it does not know; a client does.
func TestUnknownFields(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var in struct{ A int }
		err := r.Decode(&in)
		return map[string]int{"a": in.A, "new": 1}, nil, err
	})
	var out struct{ A int }
	if _, err := c.Call(limited(t), "A.B", map[string]int{"a": 1}, nil, &out); err != nil || out.A != 1 {
		t.Errorf("new result: %v, %v", out, err)
	}
	if _, err := c.Call(limited(t), "A.B", map[string]int{"a": 1, "b": 2}, nil, &out); CodeOf(err) != CodeNoField || !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("new parameter: %v", err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	const n = 100
	var arrived sync.WaitGroup
	arrived.Add(n)
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var i int
		if err := r.Decode(&i); err != nil {
			return nil, nil, err
		}
		if i >= 0 { // the first round is all there before the first is answered
			arrived.Done()
			arrived.Wait()
		}
		return i, r.Files, nil
	})
	ctx := limited(t)
	f := text(t, "")
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var out int
			if _, err := c.Call(ctx, "A.B", i, nil, &out); err != nil || out != i {
				t.Errorf("call %d: %d, %v", i, out, err)
			}
			for j := range 25 { // more take half a minute on an emulated machine
				var files []*os.File
				if j%3 == 0 {
					files = []*os.File{f, f}[:1+j%2]
				}
				in := -1 - i*1000 - j
				got, err := c.Call(ctx, "A.B", in, files, &out)
				if err != nil || out != in || len(got) != len(files) {
					t.Errorf("call %d.%d: %d, %d files, %v", i, j, out, len(got), err)
				}
				closeFiles(got)
			}
		})
	}
	wg.Wait()
}

// Frames of all sizes cross each other: none gets the bytes of another.
func TestConcurrentSizes(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var text string
		err := r.Decode(&text)
		return text, nil, err
	})
	ctx := limited(t)
	var wg sync.WaitGroup
	for i := range 26 {
		wg.Go(func() {
			for j := range 20 {
				in := strings.Repeat(string(rune('a'+i)), []int{9, 700, gatherMax, 20 << 10, 70 << 10, pooledMax + 9}[(i+j)%6])
				var out string
				if _, err := c.Call(ctx, "A.B", in, nil, &out); err != nil || out != in {
					t.Errorf("%d bytes of %.1q: got %d of %.9q…, %v", len(in), in, len(out), out, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFilesAreLentAndGiven(t *testing.T) {
	given := text(t, "given")
	kept := make(chan *os.File, 1)
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		b, err := io.ReadAll(r.Files[0])
		if err != nil {
			return nil, nil, err
		}
		flags, err := unix.FcntlInt(r.Files[0].Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			return nil, nil, fmt.Errorf("flags %#x: %w", flags, err)
		}
		f, err := Dup(r.Files[1])
		kept <- f
		return string(b), []*os.File{given}, err
	})
	a, b := text(t, "lent"), text(t, "kept")
	var out string
	got, err := c.Call(limited(t), "A.B", nil, []*os.File{a, b}, &out)
	if err != nil || out != "lent" || len(got) != 1 {
		t.Fatalf("%q, %d files, %v", out, len(got), err)
	}
	if s := read(t, got[0]); s != "given" {
		t.Errorf("read %q", s)
	}
	if isClosed(a) || isClosed(b) {
		t.Error("the caller's files are closed")
	}
	k := <-kept
	if s := read(t, k); s != "kept" {
		t.Errorf("kept %q", s)
	}
	closeFiles([]*os.File{k, got[0]})
}

func TestHandlersFilesAreClosed(t *testing.T) {
	leaks(t)
	own := text(t, "x")
	seen := make(chan *os.File, 10)
	s := &Server{Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
		seen <- r.Files[0]
		switch r.Method {
		case "A.Fail":
			return nil, nil, errors.New("no")
		case "A.Echo":
			return nil, r.Files, nil
		}
		return make(chan int), []*os.File{own}, nil // cannot be encoded
	}}
	c := NewClient(serve(t, s), Limits{})
	f := text(t, "")
	for _, method := range []string{"A.Fail", "A.Echo", "A.Bad"} {
		got, err := c.Call(limited(t), method, nil, []*os.File{f}, nil)
		if (err == nil) != (method == "A.Echo") {
			t.Errorf("%s: %v", method, err)
		}
		closeFiles(got)
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if f := <-seen; !isClosed(f) {
			t.Error("a file is open")
		}
	}
	if !isClosed(own) {
		t.Error("the result's file is open")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadFiles(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) { return len(r.Files), nil, nil })
	closed := text(t, "")
	closeFiles([]*os.File{closed})
	if _, err := c.Call(limited(t), "A.B", nil, []*os.File{closed}, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed file: %v", err)
	}
	f := text(t, "")
	many := make([]*os.File, 65)
	for i := range many {
		many[i] = f
	}
	if _, err := c.Call(limited(t), "A.B", nil, many, nil); CodeOf(err) != CodeTooLarge {
		t.Errorf("65 files: %v", err)
	}
	var n int
	if _, err := c.Call(limited(t), "A.B", nil, many[:64], &n); err != nil || n != 64 {
		t.Errorf("64 files: %d, %v", n, err)
	}
	if _, err := c.Call(limited(t), "A.B", strings.Repeat("x", 5<<20), nil, nil); CodeOf(err) != CodeTooLarge {
		t.Errorf("5 MiB: %v", err)
	}
}

func TestLargeBodies(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var s string
		err := r.Decode(&s)
		return s, r.Files, err
	})
	f := text(t, "")
	for _, size := range []int{0, 1, 4070, 4096, 65535, 65536, 1 << 20, 4<<20 - 16} {
		for _, files := range [][]*os.File{nil, {f}} {
			in, out := strings.Repeat("y", size), ""
			got, err := c.Call(limited(t), "A.B", in, files, &out)
			if err != nil || out != in || len(got) != len(files) {
				t.Errorf("%d bytes, %d files: %d bytes, %d files, %v", size, len(files), len(out), len(got), err)
			}
			closeFiles(got)
		}
	}
}

// A result beyond the client's limit is an error of the call, not of the
// connection.
func TestLargeResult(t *testing.T) {
	leaks(t)
	c := NewClient(serve(t, &Server{Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
		if r.Method == "A.Error" {
			return nil, nil, fmt.Errorf("%s: %w", strings.Repeat("x", 100_000), fs.ErrExist)
		}
		return strings.Repeat("x", 100_000), nil, nil
	}}), Limits{Body: leastBody})
	for _, tc := range []struct{ method, code string }{{"A.B", CodeTooLarge}, {"A.Error", CodeExist}} {
		if _, err := c.Call(limited(t), tc.method, nil, nil, nil); CodeOf(err) != tc.code {
			t.Errorf("%s: %v", tc.method, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCancelReachesHandler(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	c := client(t, func(ctx context.Context, r *Request) (any, []*os.File, error) {
		if r.Method != "A.Wait" {
			return nil, nil, nil
		}
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(limited(t))
	go func() { <-started; cancel() }()
	if _, err := c.Call(ctx, "A.Wait", nil, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("call: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("handler: %v", err)
	}
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); err != nil {
		t.Errorf("the connection is gone: %v", err)
	}
	if _, err := c.Call(ctx, "A.B", nil, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call under an ended context: %v", err)
	}
}

func TestDeadlineReachesHandler(t *testing.T) {
	c := client(t, func(ctx context.Context, _ *Request) (any, []*os.File, error) {
		at, ok := ctx.Deadline()
		return []any{ok, time.Until(at) > time.Hour}, nil, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	var out []bool
	if _, err := c.Call(ctx, "A.B", nil, nil, &out); err != nil || !out[0] || !out[1] {
		t.Errorf("%v, %v", out, err)
	}
	if _, err := c.Call(context.Background(), "A.B", nil, nil, &out); err != nil || out[0] {
		t.Errorf("without a deadline: %v, %v", out, err)
	}
}

// Neither the files that a client has lent are left then, nor those of a result that
// nobody takes.
func TestClientGoneCancelsHandlers(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{})
	leaks(t)
	c := NewClient(serve(t, &Server{Handler: func(ctx context.Context, r *Request) (any, []*os.File, error) {
		close(started)
		<-ctx.Done()
		defer close(ended)
		own, err := Dup(r.Files[0])
		return nil, []*os.File{own}, err
	}}), Limits{})
	failed, lent := make(chan error, 1), text(t, "")
	go func() {
		_, err := c.Call(context.Background(), "A.Wait", nil, []*os.File{lent, lent}, nil)
		failed <- err
	}()
	<-started
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	if err := <-failed; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("running call: %v", err)
	}
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("later call: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	<-c.Done()
	if c.Err() == nil {
		t.Error("no reason for the end")
	}
}

func TestServerGone(t *testing.T) {
	leaks(t)
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, seen := make(chan error, 1), make(chan struct{})
	s := &Server{Handler: func(ctx context.Context, _ *Request) (any, []*os.File, error) {
		cancel()
		<-ctx.Done()
		<-seen
		return nil, nil, ctx.Err()
	}}
	go func() { done <- s.ServeConn(ctx, b) }()
	c := NewClient(a, Limits{})
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); !errors.Is(err, ErrLost) {
		t.Errorf("running call: %v", err)
	}
	close(seen)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ServeConn: %v", err)
	}
	<-c.Done()
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); CodeOf(err) != CodeUnavailable {
		t.Errorf("later call: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPanic(t *testing.T) {
	leaks(t)
	told := make(chan string, 1)
	c := clientOf(t, &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { panic("oops") },
		Panic:   func(method string, value any, stack []byte) { told <- fmt.Sprint(method, value, len(stack) > 0) },
	})
	if _, err := c.Call(limited(t), "A.B", nil, nil, nil); CodeOf(err) != CodeInternal {
		t.Error(err)
	}
	if s := <-told; s != "A.Boopstrue" {
		t.Errorf("told %q", s)
	}
}

func TestAllow(t *testing.T) {
	leaks(t)
	c := clientOf(t, &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil },
		Allow: func(p Peer, method string) error {
			if int(p.UID) != os.Getuid() || method != "A.Good" {
				return fs.ErrPermission
			}
			return nil
		},
	})
	if _, err := c.Call(limited(t), "A.Good", nil, nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Call(limited(t), "A.Bad", "{", nil, nil); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}
