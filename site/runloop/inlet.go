package runloop

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// inlet is a descriptor of a client that input comes from. It is read only
// when it has something, so that one that is given up takes no byte more: it
// may be a terminal that a shell goes on reading from.
type inlet struct {
	f    *os.File
	eof  chan struct{} // closed at the end of the client's input
	once sync.Once
	wake [2]int // a pipe; closing its write end wakes the reader
}

// newInlet takes f over and copies from it to out, which stays the caller's.
func newInlet(f, out *os.File) (*inlet, error) {
	in := &inlet{f: f, eof: make(chan struct{})}
	if err := unix.Pipe2(in.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(os.NewSyscallError("pipe2", err), f.Close())
	}
	go in.run(out)
	return in, nil
}

// cut ends the inlet.
func (in *inlet) cut() {
	in.once.Do(func() { _ = unix.Close(in.wake[1]) }) // a pipe that nothing is written to
}

func (in *inlet) run(out *os.File) {
	defer in.cut()
	defer unix.Close(in.wake[0]) //nolint:errcheck // as above
	defer in.f.Close()           // only read from
	b := make([]byte, 4<<10)
	for {
		woken, err := poll(in.f, unix.POLLIN, in.wake[0])
		if woken {
			return
		}
		n := 0
		if err == nil {
			n, err = readNow(in.f, b)
		}
		if errors.Is(err, syscall.EAGAIN) {
			continue
		}
		if n == 0 || err != nil {
			close(in.eof)
			return
		}
		if _, err := out.Write(b[:n]); err != nil {
			return // main reads no more
		}
	}
}
