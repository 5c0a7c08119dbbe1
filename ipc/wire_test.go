package ipc

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns a bare reader and writer at the two ends of a connection.
func pair(t *testing.T) (from, to *Conn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Conn{a, b} {
		c.limits = Limits{}.filled()
		c.r.limits, c.w.stall = c.limits, c.limits.Stall
		c.r.alloc()
		t.Cleanup(func() {
			c.r.close()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return a, b
}

func TestTruncatedControlData(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	from.r.oob = make([]byte, unix.CmsgSpace(4*2))
	f := text(t, "")
	if err := to.w.send(limited(t), &message{buf: raw(kindCall, 5, 1, "A.B\n")}, []*os.File{f, f, f, f, f}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.r.next(); !errors.Is(err, errProtocol) || !strings.Contains(err.Error(), "truncated") {
		t.Error(err)
	}
}

// Frames with and without files keep their order and their files, however the
// kernel cuts and glues them.
func TestRightsStayWithTheirFrame(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	const n = 500
	go func() {
		for i := range n {
			files := make([]*os.File, i%4)
			for j := range files {
				files[j] = os.Stdin
			}
			body := strings.Repeat("b", i*37%5000)
			if err := to.w.send(context.Background(), &message{buf: raw(kindCall, len(files), uint64(i), body)}, files); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range n {
		f, err := from.r.next()
		if err != nil || f.id != uint64(i) || len(f.fds) != i%4 || len(f.body) != i*37%5000 {
			t.Fatalf("frame %d: id %d, %d descriptors, %d bytes, %v", i, f.id, len(f.fds), len(f.body), err)
		}
		f.discard()
	}
}

// What a full socket does not take is written later, with duplicates of the
// files, which the sender may close at once.
func TestFullSocket(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	const n = 200
	body := strings.Repeat("b", 100<<10)
	sent := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for i := range n {
			f, w, err := os.Pipe()
			if err != nil {
				t.Error(err)
			}
			err = to.w.send(ctx, &message{buf: raw(kindCall, 1, uint64(i), body)}, []*os.File{f})
			closeFiles([]*os.File{f, w})
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				sent <- i
				return
			}
		}
		sent <- n
	}()
	for waiting := 0; waiting == 0 && len(sent) == 0; time.Sleep(time.Millisecond) { // for the room that there must be none of
		to.w.mu.Lock()
		waiting = len(to.w.waiting)
		to.w.mu.Unlock()
	}
	cancel()
	all := <-sent
	if all == n {
		t.Fatalf("all %d frames went into the socket", n)
	}
	for i := range all {
		f, err := from.r.next()
		if err != nil || f.id != uint64(i) || len(f.fds) != 1 || len(f.body) != len(body) {
			t.Fatalf("frame %d: id %d, %d descriptors, %d bytes, %v", i, f.id, len(f.fds), len(f.body), err)
		}
		f.discard()
	}
	if err := to.w.send(limited(t), &message{buf: raw(kindCall, 0, n, "")}, nil); err != nil {
		t.Error(err)
	}
	if f, err := from.r.next(); err != nil || f.id != n {
		t.Errorf("the frame after: %d, %v", f.id, err)
	}
}

func TestWriterEndsWithPeer(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := to.w.send(limited(t), &message{buf: raw(kindCall, 0, 1, "")}, nil); err != errBroken {
			t.Error(err)
		}
	}
	if _, err := to.r.next(); !ended(to.cause(err)) {
		t.Error(to.cause(err))
	}
}

func TestReaderEnds(t *testing.T) {
	leaks(t)
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"between frames": {raw(kindCall, 0, 1, "x"), io.EOF},
		"in a header":    {raw(kindCall, 0, 1, "x")[:5], io.ErrUnexpectedEOF},
		"in a body":      {raw(kindCall, 0, 1, "xyz")[:17], io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := pair(t)
			if _, err := to.conn.Write(tc.data); err != nil {
				t.Fatal(err)
			}
			if err := to.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := from.r.next()
			if err == nil {
				f.release()
				_, err = from.r.next()
			}
			if err != tc.want {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

// A length alone allocates nothing to speak of.
func TestLengthAllocatesNothing(t *testing.T) {
	leaks(t)
	from, to := pair(t)
	long := raw(kindCall, 0, 1, "")
	long[0], long[1] = 0, 0x40 // 4 MiB
	if _, err := to.conn.Write(long); err != nil {
		t.Fatal(err)
	}
	var f frame
	h, err := parseHeader(long, from.limits)
	if err != nil {
		t.Fatal(err)
	}
	f.header = h
	if f.alloc(int(h.size)); cap(f.body) > pooledMax {
		t.Errorf("%d bytes for a header", cap(f.body))
	}
	f.release()
	from.r.limits.Stall = time.Millisecond
	if _, err := from.r.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// A connection can be given away before it is used.
func TestConnIsGivenAway(t *testing.T) {
	c := client(t, func(ctx context.Context, r *Request) (any, []*os.File, error) {
		conn, err := FileConn(r.Files[0]) // takes it over
		if err != nil {
			return nil, nil, err
		}
		back := NewClient(conn, Limits{})
		var out string
		_, err = back.Call(ctx, "Back.Hello", "you", nil, &out)
		return out, nil, errors.Join(err, back.Close())
	})
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		s := &Server{Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
			var who string
			err := r.Decode(&who)
			return "hello " + who, nil, err
		}}
		done <- s.ServeConn(context.Background(), a)
	}()
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if _, err := c.Call(limited(t), "A.B", nil, []*os.File{f}, &out); err != nil || out != "hello you" {
		t.Errorf("%q, %v", out, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
