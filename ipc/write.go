package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What may wait behind a write before senders wait too.
const (
	queueBytes = 64 << 10
	queueFiles = 256
)

// From so many calls on, frames up to that size wait for others to go with them.
// Larger ones are queued as they are, small ones in one buffer.
const (
	crowded   = 4
	gatherMax = 4 << 10 // bytes
)

// writer puts frames on a socket. Safe for concurrent use.
//
// Whoever comes first writes its frame itself; who comes while a write is under
// way leaves its frame in the queue and goes on, and the first takes the whole
// queue with its next system call. So one call alone is one sendmsg without a
// copy or a switch of goroutines. In a crowd the first queues its frame too and
// lets the other goroutines run before it writes: a hundred calls at once share
// a few system calls. When the socket is full, what is left is given to a
// goroutine: a sender waits only for room in the queue, and its context ends that.
type writer struct {
	conn  *net.UnixConn
	rc    syscall.RawConn
	stall time.Duration

	// Of a server: told of the bytes of frames that wait for room, and of large ones
	// that wait to be taken. What small ones take is bounded by the queue.
	held func(n int)

	mu      sync.Mutex
	busy    bool            // somebody writes
	queue   []batch         // for whoever writes
	bytes   int             // in queue
	files   int             // in queue
	spare   []byte          // an empty buffer for the next batch
	waiting []chan struct{} // senders that wait for room, who came first is first
	err     error           // sticky
	last    bool            // what is queued is the last
	crowd   atomic.Int32    // calls under way on this connection

	// Of whoever set busy.
	once func(fd uintptr) bool // sendmsg, without waiting
	out  []byte
	oob  []byte
	n    int
	res  error
}

// batch is one or more frames. Its descriptors are those of the first: they are
// attached to the first byte, and it is sent apart from what came before.
type batch struct {
	buf   []byte
	fds   []int
	whose *message // has the buffer, if it is one large frame
	told  int      // bytes that held was told of
}

func (w *writer) init(c *net.UnixConn, rc syscall.RawConn) {
	w.conn, w.rc = c, rc
	w.once = func(fd uintptr) bool { w.sendmsg(fd); return true }
}

func (w *writer) sendmsg(fd uintptr) {
	for {
		w.n, w.res = unix.SendmsgN(int(fd), w.out, w.oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if w.res != unix.EINTR {
			return
		}
	}
}

// errBroken is a frame for a connection that has failed; w.err tells why.
var errBroken = errors.New("connection broken")

// send queues or writes one whole frame. Neither m nor the files are used after
// it has returned; what m holds may be something else by then.
func (w *writer) send(ctx context.Context, m *message, files []*os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full() {
		if err := w.wait(ctx, len(m.buf)); err != nil {
			return err
		}
	}
	return w.put(m, files)
}

func (w *writer) full() bool {
	return w.err == nil && w.busy && (w.bytes > queueBytes || w.files > queueFiles)
}

// post is send for the few frames that must neither wait nor get lost. Their
// number is bounded by that of the calls and items. An error means that the
// connection broke, which the reader reports.
func (w *writer) post(m *message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.put(m, nil)
}

// end closes the connection as soon as nothing is left to be written.
func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = true
	if !w.busy {
		_ = w.conn.Close() // nothing was lost
	}
}

func (w *writer) put(m *message, files []*os.File) error {
	if w.err != nil || w.last {
		return errBroken
	}
	if w.busy {
		return w.enqueue(m, files)
	}
	if w.crowd.Load() >= crowded && len(files) == 0 && len(m.buf) <= gatherMax {
		if err := w.enqueue(m, nil); err != nil {
			return err
		}
		w.busy = true
		w.mu.Unlock()
		runtime.Gosched() // whoever can run now, may have something to send
		w.mu.Lock()
		return w.flush()
	}
	b := batch{buf: m.buf}
	if len(files) > 0 {
		var err error
		if b.fds, err = rawFDs(files); err != nil {
			return err
		}
	}
	err := w.write(b, m)
	runtime.KeepAlive(files)
	return err
}

// wait lets go of the lock until there is room for a frame. One sender is woken at
// a time, and wakes the next.
func (w *writer) wait(ctx context.Context, size int) (err error) {
	if w.held != nil {
		w.held(size)
		defer w.held(-size)
	}
	for err == nil && w.full() {
		turn := make(chan struct{})
		w.waiting = append(w.waiting, turn)
		w.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			err = ctx.Err()
		}
		w.mu.Lock()
		if err != nil {
			w.waiting = slices.DeleteFunc(w.waiting, func(c chan struct{}) bool { return c == turn })
		}
	}
	w.wake()
	return err
}

// wake lets one sender look for room, if there is some.
func (w *writer) wake() {
	if len(w.waiting) > 0 && !w.full() {
		close(w.waiting[0])
		w.waiting = slices.Delete(w.waiting, 0, 1)
	}
}

// enqueue takes a frame over, and duplicates its files.
func (w *writer) enqueue(m *message, files []*os.File) error {
	large, last := len(m.buf) > gatherMax, len(w.queue)-1
	w.bytes += len(m.buf)
	if !large && len(files) == 0 && last >= 0 && w.queue[last].whose == nil {
		w.queue[last].buf = append(w.queue[last].buf, m.buf...)
		return nil
	}
	fds, err := dupFDs(files)
	if err != nil {
		w.bytes -= len(m.buf)
		return err
	}
	b := batch{fds: fds}
	if large {
		w.take(&b, m)
		b.buf = b.whose.buf
	} else {
		b.buf, w.spare = append(w.spare, m.buf...), nil
	}
	w.queue = append(w.queue, b)
	w.files += len(fds)
	return nil
}

// take makes b the owner of a large frame.
func (w *writer) take(b *batch, m *message) {
	b.whose = m.take()
	if w.held != nil {
		b.told = len(b.whose.buf)
		w.held(b.told)
	}
}

// drop ends a batch that was written, or never will be.
func (w *writer) drop(b batch) {
	closeFDs(b.fds)
	if b.told > 0 {
		w.held(-b.told)
	}
}

// dequeue takes the next batch; busy ends when there is none.
func (w *writer) dequeue() (batch, bool) {
	if len(w.queue) == 0 {
		w.busy, w.out, w.oob = false, nil, nil
		w.wake()
		if w.last {
			_ = w.conn.Close() // nothing was lost
		}
		return batch{}, false
	}
	b := w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1) // and its place forgets the buffer
	w.bytes -= len(b.buf)
	w.files -= len(b.fds)
	w.wake()
	return b, true
}

// write writes b, which is m and whose parts are the caller's, and then the queue.
func (w *writer) write(b batch, m *message) error {
	w.busy = true
	err := w.attempt(b, w.once)
	switch {
	case err == unix.EAGAIN:
		return w.leave(b, m)
	case err != nil && len(b.fds) > 0 && refused(err):
		if b, ok := w.dequeue(); ok {
			go w.finish(b, b.buf)
		}
		return fmt.Errorf("send %d files: %w", len(b.fds), err)
	case err != nil:
		return w.fail(err)
	case w.n < len(b.buf):
		return w.leave(batch{buf: b.buf[w.n:]}, m)
	}
	return w.flush()
}

// flush writes the queue. Like write, it is called by who set busy.
func (w *writer) flush() error {
	for {
		b, ok := w.dequeue()
		if !ok {
			return nil
		}
		err := w.attempt(b, w.once)
		if err == unix.EAGAIN {
			go w.finish(b, b.buf)
			return nil
		}
		if err != nil {
			w.drop(b)
			return w.fail(err)
		}
		if w.n < len(b.buf) {
			closeFDs(b.fds)
			b.fds = nil
			go w.finish(b, b.buf[w.n:])
			return nil
		}
		w.drop(b)
		w.keep(b)
	}
}

// attempt sends b with the lock released.
func (w *writer) attempt(b batch, send func(uintptr) bool) error {
	w.out, w.oob = b.buf, nil
	if len(b.fds) > 0 {
		w.oob = unix.UnixRights(b.fds...)
	}
	w.mu.Unlock()
	err := w.rc.Write(send)
	if err == nil {
		err = w.res
	}
	w.mu.Lock()
	return err
}

// refused tells the errors that concern the rights alone; nothing was sent
// then. EBADF: one is not open. EOPNOTSUPP: a kqueue, on FreeBSD.
// ETOOMANYREFS: too many in flight, on Linux. EMSGSIZE, EINVAL: too many.
func refused(err error) bool {
	switch err {
	case unix.EBADF, unix.EOPNOTSUPP, unix.ETOOMANYREFS, unix.EMSGSIZE, unix.EINVAL:
		return true
	}
	return false
}

// leave gives b, the rest of m, to a goroutine: the buffer itself, if it is large,
// and duplicates of the files.
func (w *writer) leave(b batch, m *message) error {
	fds := make([]int, 0, len(b.fds))
	for _, fd := range b.fds {
		d, err := dupFD(uintptr(fd))
		if err != nil {
			closeFDs(fds)
			if next, ok := w.dequeue(); ok {
				go w.finish(next, next.buf)
			}
			return fmt.Errorf("duplicate a file to send: %w", err)
		}
		fds = append(fds, d)
	}
	rest := batch{buf: b.buf, fds: fds}
	if len(m.buf) > gatherMax {
		w.take(&rest, m)
	} else {
		rest.buf = bytes.Clone(b.buf)
	}
	go w.finish(rest, rest.buf)
	return nil
}

// finish writes rest, which ends b, and the queue to a peer that is slow. One
// that takes nothing for the stall time is dropped.
func (w *writer) finish(b batch, rest []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	patient := func(fd uintptr) bool { w.sendmsg(fd); return w.res != unix.EAGAIN }
	for ok := true; ok; {
		err := w.conn.SetWriteDeadline(time.Now().Add(w.stall))
		if err == nil {
			err = w.attempt(batch{buf: rest, fds: b.fds}, patient)
		}
		closeFDs(b.fds)
		b.fds = nil
		if err != nil {
			w.drop(b)
			_ = w.fail(err) // kept in w.err for the senders to come
			return
		}
		if rest = rest[w.n:]; len(rest) > 0 {
			continue
		}
		w.drop(b)
		w.keep(b)
		if len(w.queue) == 0 {
			err = w.conn.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			_ = w.fail(err)
			return
		}
		b, ok = w.dequeue()
		rest = b.buf
	}
}

// keep saves the buffer of a batch that was written for a next one.
func (w *writer) keep(b batch) {
	switch {
	case b.whose != nil:
		b.whose.free()
	case cap(b.buf) <= queueBytes && cap(b.buf) > cap(w.spare):
		w.spare = b.buf[:0]
	}
}

// fail ends the connection, for part of a frame may be lost. Its reader sees
// the end too, and tells everybody; if it was the peer who closed, after having
// read what came before.
func (w *writer) fail(err error) error {
	gone := err == unix.EPIPE || err == unix.ECONNRESET || err == unix.ENOTCONN
	if _, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError("sendmsg", err)
	}
	if w.err == nil {
		w.err = err
	}
	for b, ok := w.dequeue(); ok; b, ok = w.dequeue() {
		w.drop(b)
	}
	if !gone {
		_ = w.conn.Close() // the error that matters is err
	}
	return errBroken
}
