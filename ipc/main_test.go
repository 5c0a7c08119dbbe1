package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc/internal/leak"
)

// patience bounds what never takes long.
const patience = time.Minute

// dialEnv makes the test binary a client that connects and waits for the end.
const dialEnv = "IPC_TEST_DIAL"

// openEnv makes the test binary tell which descriptors it was started with.
const openEnv = "IPC_TEST_OPEN"

func TestMain(m *testing.M) {
	if arg := os.Getenv(attackEnv); arg != "" {
		attack(arg)
		return
	}
	if os.Getenv(openEnv) != "" {
		fmt.Println(slices.Sorted(maps.Keys(leak.Descriptors())))
		return
	}
	path := os.Getenv(dialEnv)
	if path == "" {
		os.Exit(leak.Main(m))
	}
	c, err := Dial(context.Background(), path)
	if err == nil {
		_, err = io.Copy(io.Discard, c.conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// leaks fails the test if it leaves descriptors or goroutines behind. It is called
// first, so that it looks last.
func leaks(t testing.TB) {
	t.Helper()
	leak.Check(t)
}

// serve runs a server on one end of a pair and returns the other.
func serve(t testing.TB, s *Server) *Conn {
	t.Helper()
	mine, its, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(ctx, its) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ServeConn: %v", err)
		}
	})
	return mine
}

// client returns a client of a handler, with a leak check.
func client(t testing.TB, h Handler) *Client {
	t.Helper()
	leaks(t)
	return clientOf(t, &Server{Handler: h})
}

func clientOf(t testing.TB, s *Server) *Client {
	t.Helper()
	c := NewClient(serve(t, s), Limits{})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// limited is a context that keeps a broken test from hanging.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// text returns a pipe that holds a text and ends.
func text(t testing.TB, s string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.WriteString(s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // many tests close it themselves
	return r
}

func read(t testing.TB, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func isClosed(f *os.File) bool {
	_, err := f.Stat()
	return errors.Is(err, fs.ErrClosed)
}
