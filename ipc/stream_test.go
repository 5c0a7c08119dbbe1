package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

func TestStream(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var n int
		if err := r.Decode(&n); err != nil {
			return nil, nil, err
		}
		for i := range n {
			var files []*os.File
			if i%7 == 0 {
				files = []*os.File{os.Stdin}
			}
			if err := r.Emit(i, files...); err != nil {
				return nil, nil, err
			}
		}
		return "end", nil, nil
	})
	for _, n := range []int{0, 1, 10, 20000} { // more than a window
		next, out := 0, ""
		var last *os.File
		_, err := c.Stream(limited(t), "A.B", n, nil, func(raw []byte, files []*os.File) error {
			var i int
			if err := json.Unmarshal(raw, &i); err != nil || i != next || len(files) != map[bool]int{true: 1}[i%7 == 0] {
				t.Errorf("item %d: %s, %d files, %v", next, raw, len(files), err)
			}
			if last != nil && !isClosed(last) {
				t.Error("the file of an earlier item is open")
			}
			if len(files) > 0 {
				last = files[0]
			}
			next++
			return nil
		}, &out)
		if err != nil || next != n || out != "end" {
			t.Errorf("%d items: %d, %q, %v", n, next, out, err)
		}
		// Who does not want the items gets the result.
		if _, err := c.Call(limited(t), "A.B", n, nil, &out); err != nil {
			t.Errorf("%d items: %v", n, err)
		}
	}
}

// The server cannot get further ahead than the window and one item.
func TestStreamBackPressure(t *testing.T) {
	item := strings.Repeat("z", 10<<10)
	var sent atomic.Int64
	full := make(chan struct{})
	c := client(t, func(ctx context.Context, r *Request) (any, []*os.File, error) {
		for range 200 {
			r.mu.Lock()
			waits := r.credit <= 0
			r.mu.Unlock()
			if waits && sent.Load() < 100 {
				select {
				case <-full:
				default:
					close(full)
				}
			}
			if err := r.Emit(item); err != nil {
				return nil, nil, err
			}
			sent.Add(1)
		}
		return nil, nil, nil
	})
	got := 0
	_, err := c.Stream(limited(t), "A.B", nil, nil, func([]byte, []*os.File) error {
		if got++; got == 1 {
			<-full
			if n := sent.Load(); n > window/int64(len(item))+1 {
				t.Errorf("%d items under way", n)
			}
		}
		return nil
	}, nil)
	if err != nil || got != 200 {
		t.Errorf("%d items, %v", got, err)
	}
}

func TestStreamItemLargerThanWindow(t *testing.T) {
	big := strings.Repeat("b", 3*window)
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		for range 5 {
			if err := r.Emit(big); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, r.Emit(strings.Repeat("b", 5<<20))
	})
	got := 0
	_, err := c.Stream(limited(t), "A.B", nil, nil, func(raw []byte, _ []*os.File) error {
		if got++; len(raw) != len(big)+2 {
			t.Errorf("%d bytes", len(raw))
		}
		return nil
	}, nil)
	if got != 5 || CodeOf(err) != CodeTooLarge {
		t.Errorf("%d items, %v", got, err)
	}
}

func TestStreamStoppedByClient(t *testing.T) {
	ended := make(chan error, 1)
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		for i := 0; ; i++ {
			if err := r.Emit(i, os.Stdin); err != nil {
				ended <- err
				return nil, nil, err
			}
		}
	})
	stop := errors.New("enough")
	got := 0
	_, err := c.Stream(limited(t), "A.B", nil, nil, func([]byte, []*os.File) error {
		if got++; got == 10 {
			return stop
		}
		return nil
	}, nil)
	if !errors.Is(err, stop) || got != 10 {
		t.Errorf("%d items, %v", got, err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("handler: %v", err)
	}
	ctx, cancel := context.WithCancel(limited(t))
	_, err = c.Stream(ctx, "A.B", nil, nil, func([]byte, []*os.File) error {
		cancel()
		return nil
	}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled inside an item: %v", err)
	}
	<-ended
}

func TestStreamConnectionLost(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		for {
			if err := r.Emit("x"); err != nil {
				return nil, nil, err
			}
		}
	})
	got := 0
	_, err := c.Stream(limited(t), "A.B", nil, nil, func([]byte, []*os.File) error {
		if got++; got == 3 {
			return c.Close()
		}
		return nil
	}, nil)
	if !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}
