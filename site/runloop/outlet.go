package runloop

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	outletMax   = 64 << 10 // bytes that wait for a client, besides as many being written
	outletPiece = 4 << 10  // bytes a client has to read within patience to be waited for
	patience    = 250 * time.Millisecond
)

// outlet is a descriptor of a client that gets output. A goroutine writes,
// since the descriptor's mode is the client's and a write may block.
//
// A client that reads, however slowly, is waited for: a terminal is slower
// than most programs, and its user wants to see all of it. One that has not
// read 4 KiB for a quarter of a second is behind. It is not waited for again
// before it has read all it was given; then it is told how much it has missed.
type outlet struct {
	f    *os.File
	gone chan struct{} // closed when nothing will be written any more

	mu      sync.Mutex
	changed sync.Cond // buf, ended
	buf     []byte
	skipped int64 // bytes; not 0: behind
	ended   bool
	written uint64        // pieces
	room    chan struct{} // a token whenever a piece was written
}

// newOutlet takes f over.
func newOutlet(f *os.File) *outlet {
	o := &outlet{f: f, gone: make(chan struct{}), room: make(chan struct{}, 1)}
	o.changed.L = &o.mu
	go o.run()
	return o
}

// put gives the client p, or counts it as skipped.
func (o *outlet) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	full := func() bool { return len(o.buf) > 0 && len(o.buf)+len(p) > outletMax }
	for o.skipped == 0 && !o.ended && full() && o.waitLocked() {
	}
	switch {
	case o.ended:
	case o.skipped > 0, full():
		o.skipped += int64(len(p))
	default:
		o.buf = append(o.buf, p...)
		o.changed.Signal()
	}
}

// waitLocked waits until the client has read a piece; not for ever.
func (o *outlet) waitLocked() bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	late := false
	for before := o.written; o.written == before && !o.ended && !late; {
		o.mu.Unlock()
		select {
		case <-o.room: // may be the token of an earlier piece
		case <-o.gone:
		case <-t.C:
			late = true
		}
		o.mu.Lock()
	}
	return !late
}

// end lets the client read what it was given; gone tells when it has.
func (o *outlet) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Signal()
}

// cut ends the outlet at once. A write that blocks keeps its descriptor until
// the client reads or goes away.
func (o *outlet) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended, o.buf, o.skipped = true, nil, 0
	o.changed.Signal()
	_ = o.f.Close() // the client has gone
}

func (o *outlet) run() {
	defer close(o.gone)
	defer o.cut()
	var spare []byte
	for {
		p := o.take(spare)
		if p == nil {
			return
		}
		spare = p[:0]
		for len(p) > 0 {
			n := min(len(p), outletPiece)
			if err := writeAll(o.f, p[:n]); err != nil {
				return // the client has gone; that is not the container's concern
			}
			p = p[n:]
			o.mu.Lock()
			o.written++
			o.mu.Unlock()
			select {
			case o.room <- struct{}{}:
			default:
			}
		}
	}
}

// take waits for something to write; nil is the end.
func (o *outlet) take(spare []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && o.skipped == 0 && !o.ended {
		o.changed.Wait()
	}
	p := o.buf
	if len(p) == 0 && o.skipped > 0 {
		p = fmt.Appendf(spare, "\r\n[xc: %d bytes of output skipped]\r\n", o.skipped)
		o.skipped = 0
		return p
	}
	if len(p) == 0 {
		return nil
	}
	o.buf = spare
	return p
}

// writeAll writes p. The client may have changed the mode of the descriptor
// after it was sent, so EAGAIN can come even from a blocking one.
func writeAll(f *os.File, p []byte) error {
	for {
		n, err := f.Write(p)
		p = p[n:]
		if !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		if _, err := poll(f, unix.POLLOUT, -1); err != nil {
			return err
		}
	}
}

// poll waits until f is ready for events, or wake (unless it is -1) is
// readable or hung up.
func poll(f *os.File, events int16, wake int) (woken bool, err error) {
	fds := []unix.PollFd{{Events: events}, {Fd: int32(wake), Events: unix.POLLIN}}
	cerr := withFD(f, func(fd int) {
		fds[0].Fd = int32(fd)
		for {
			if _, err = unix.Poll(fds, -1); err != syscall.EINTR {
				return
			}
		}
	})
	return fds[1].Revents != 0, errors.Join(cerr, err)
}
