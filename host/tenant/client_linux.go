package tenant

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// errGone is that the stub, and so the whole tenant, has ended.
var errGone = errors.New("the tenant's pid 1 is gone")

// wire is the run loop's end of the socket to the stub.
type wire struct {
	file     *os.File
	conn     syscall.RawConn
	oob      []byte               // of the reader
	calls    sync.Mutex           // one request at a time
	starting atomic.Pointer[tree] // what the current request starts
	answers  chan answer
	gone     chan struct{} // closed by fail
	cause    error         // why, before that
}

type answer struct {
	m message
	r received
}

func newWire(f *os.File) (*wire, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &wire{
		file: f, conn: conn, answers: make(chan answer), gone: make(chan struct{}),
		oob: make([]byte, unix.CmsgSpace(4*2)+unix.CmsgSpace(unix.SizeofUcred)),
	}, nil
}

// start asks for a start; t is registered when the answer arrives.
func (w *wire) start(q request, files []int, t *tree) (pid int, fds []int, err error) {
	a, err := w.call(q, files, t)
	return a.r.pid, a.r.fds, err
}

// call sends a request and returns its answer, whose descriptors are the caller's.
func (w *wire) call(q request, files []int, t *tree) (answer, error) {
	b, err := pack(&q)
	if err != nil {
		return answer{}, err
	}
	w.calls.Lock()
	defer w.calls.Unlock()
	w.starting.Store(t)
	if err := w.write(b, rights(files, 0)); err != nil {
		// What is no errno is RawConn's: the file was closed (internal/poll's
		// ErrFileClosing, which os does not turn into os.ErrClosed here).
		if _, ok := errors.AsType[syscall.Errno](err); !ok || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			err = errGone
		}
		return answer{}, err
	}
	select {
	case a := <-w.answers:
		if a.m.err != nil {
			closeAll(a.r.fds)
			return answer{}, a.m.err
		}
		return a, nil
	case <-w.gone:
		return answer{}, w.cause
	}
}

func (w *wire) write(b, oob []byte) error {
	var inner error
	err := w.conn.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			n, err := unix.SendmsgN(int(fd), b, oob, nil, unix.MSG_NOSIGNAL)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return false
			case err != nil:
				inner = err
				return true
			}
			b, oob = b[n:], nil
		}
		return true
	})
	if err != nil {
		return err
	}
	return inner
}

// read reads one message.
func (w *wire) read() (message, received, error) {
	var head [header]byte
	var m message
	var n int
	var r received
	var inner error
	err := w.conn.Read(func(fd uintptr) bool {
		for {
			n, r, inner = recvHead(int(fd), head[:], w.oob)
			if inner != unix.EINTR {
				return inner != unix.EAGAIN
			}
		}
	})
	if err = errors.Join(err, inner); err != nil {
		return m, r, err
	}
	if err := w.readRest(head[:], n, &m); err != nil {
		closeAll(r.fds)
		return m, received{}, err
	}
	return m, r, nil
}

func (w *wire) readRest(head []byte, n int, m *message) error {
	if _, err := io.ReadFull(w.file, head[n:]); err != nil {
		return err
	}
	size, err := bodySize(head)
	if err != nil {
		return err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(w.file, body); err != nil {
		return err
	}
	return m.decode(body)
}

// fail ends all calls, present and to come.
func (w *wire) fail(err error) {
	w.cause = errGone
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, os.ErrClosed) {
		w.cause = fmt.Errorf("%w: %w", errGone, err)
	}
	close(w.gone)
}
