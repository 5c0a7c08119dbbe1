package sample

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Counter implements Shop.
type Counter struct{}

var _ Shop = Counter{}

// Now returns a fixed time.
func (Counter) Now(context.Context) (time.Time, error) {
	return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), nil
}

// Nothing does nothing.
func (Counter) Nothing(context.Context) error { return nil }

// Add sums.
func (Counter) Add(_ context.Context, first int, more ...int) (int, error) {
	for _, n := range more {
		first += n
	}
	return first, nil
}

// Many gives back what it got.
func (Counter) Many(_ context.Context, in string, addrs []netip.Addr, sizes map[string]Size) (string, []Size, *int, error) {
	n := len(addrs)
	return in + addrs[0].String(), []Size{sizes["a"], sizes["b"]}, &n, nil
}

// Copy copies, and returns a new pipe with a line in it.
func (Counter) Copy(_ context.Context, from *os.File, to []*os.File) (*os.File, int64, error) {
	var writers []io.Writer
	for _, f := range to {
		if f != nil {
			writers = append(writers, f)
		}
	}
	n, err := io.Copy(io.MultiWriter(writers...), from)
	if err != nil {
		return nil, 0, err
	}
	log, err := line(fmt.Sprintf("%d files\n", len(writers)))
	return log, n, err
}

// line returns a pipe that holds a text.
func line(text string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.WriteString(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Run writes what it got to every file.
func (Counter) Run(_ context.Context, c Command) (Outcome, error) {
	files := append([]*os.File{c.Out, c.Err}, c.More...)
	for _, n := range c.Extra {
		files = append(files, n.File)
	}
	if c.Log != nil {
		files = append(files, c.Log.File)
	}
	var written int
	for i, f := range files {
		if f == nil {
			continue
		}
		if _, err := fmt.Fprintf(f, "%d %v\n", i, c.Args); err != nil {
			return Outcome{}, err
		}
		written++
	}
	core, err := line("core")
	return Outcome{Code: written, Text: fmt.Sprint(c.In == nil, c.Limit, c.local), Core: core}, err
}

// Full is an error with a code of its own.
type Full struct{ Shelf string }

func (f Full) Error() string { return "shelf " + f.Shelf + " is full" }

// Code makes errors.Is hold on the other side.
func (Full) Code() string { return "full" }

// Fail fails.
func (Counter) Fail(ctx context.Context, how string) error {
	switch how {
	case "full":
		return Full{"a"}
	case "path":
		return fmt.Errorf("look: %w", &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT})
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// Count counts.
func (Counter) Count(_ context.Context, n int, emit func(int) error) (int, error) {
	for i := range n {
		if err := emit(i); err != nil {
			return i, err
		}
	}
	return n, nil
}

// Files emits pipes that hold their names.
func (Counter) Files(_ context.Context, names []string, emit func(Named) error) error {
	for _, name := range names {
		f, err := line(name)
		if err != nil {
			return err
		}
		if err := errors.Join(emit(Named{name, f}), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Each counts and ends with an error if n is negative.
func (Counter) Each(_ context.Context, n int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range max(n, -n) {
			if !yield(i, nil) {
				return
			}
		}
		if n < 0 {
			yield(0, Full{"z"})
		}
	}
}
