package cli

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// progressOf shows, on a terminal, how much of a layer was read. Of a file it watches
// the offset, which a process that reads it shares with us, so that nothing passes
// through this one on its behalf.
func (p *program) progressOf(in io.Reader) (io.Reader, func()) {
	if !p.onTerminal() {
		return in, func() {}
	}
	if f, ok := in.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			return in, p.show(offset(f), fi.Size())
		}
	}
	c := &counter{r: in}
	return c, p.show(c.n.Load, 0)
}

// progressTo shows how much of a layer was written.
func (p *program) progressTo(out io.Writer) (io.Writer, func()) {
	if !p.onTerminal() {
		return out, func() {}
	}
	c := &counter{w: out}
	return c, p.show(c.n.Load, 0)
}

func offset(f *os.File) func() int64 {
	return func() int64 {
		n, err := unix.Seek(int(f.Fd()), 0, io.SeekCurrent)
		if err != nil {
			return 0
		}
		return n
	}
}

// onTerminal says whether standard error is one.
func (p *program) onTerminal() bool {
	f, ok := p.stderr.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// show prints how far it is, five times a second, until the function it returns is called.
func (p *program) show(at func() int64, total int64) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-end:
				if shown {
					fmt.Fprint(p.stderr, "\r\x1b[K") // gone: what comes is the result
				}
				return
			case <-tick.C:
				fmt.Fprintf(p.stderr, "\r%s\x1b[K", progress(at(), total))
				shown = true
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func progress(at, total int64) string {
	const mb = 1e6
	if total <= 0 {
		return fmt.Sprintf("%.1f MB", float64(at)/mb)
	}
	return fmt.Sprintf("%3d%% of %.1f MB", min(at*100/total, 100), float64(total)/mb)
}

// counter counts what passes through.
type counter struct {
	r io.Reader
	w io.Writer
	n atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}
