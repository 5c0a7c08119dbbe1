package runloop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// Descriptors that a run loop inherits.
const (
	fdListener = 3
	fdStarter  = 4
	fdConfig   = 5
)

// codeNever is the code of a main that was never started, that of docker run.
const codeNever = 125

// farewell is how long clients get, at the end, to read the last output and
// the last answers.
const farewell = 2 * time.Second

// Opener opens a tenant from its part of the configuration.
type Opener = func(config json.RawMessage) (Tenant, error)

// Main is the whole of a run loop; it is called first in main, after what the
// tenant's package wants called there, and returns the process's exit status.
// Prepare is called at once, before there is a configuration, which may be long
// in coming: it can begin what does not depend on it. What goes wrong before it
// can serve Main says on stderr.
func Main(prepare func() Opener) int {
	for fd := fdListener; fd <= fdConfig; fd++ {
		unix.CloseOnExec(fd)
	}
	stderr, err := devNull()
	if err == nil {
		err = run(prepare, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "xc-runloop: %v\n", err) // closed once it has served
		return 1
	}
	return 0
}

func run(prepare func() Opener, stderr *os.File) error {
	// All that can be done before the configuration comes is done then.
	if err := detach(); err != nil {
		return err
	}
	// Nothing here is worth a second core or a large heap.
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(25)
	open := prepare()
	listener, starter, err := inherit()
	if err != nil {
		return err
	}
	// Who dials is answered at once, so that all of the program that a start needs
	// can have run once when the configuration comes. The starter is not: until it
	// is greeted it knows that a call which fails was not executed.
	l := newLoop()
	served, configured := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		l.serve(listener, starter, configured)
	}()
	f := os.NewFile(fdConfig, "configuration")
	cfg, err := readConfig(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	l.configure(cfg, open)
	close(configured)
	if err := stderr.Close(); err != nil {
		return err
	}
	<-served
	return l.failure
}

// inherit takes over the descriptors of the control socket.
func inherit() (net.Listener, *ipc.Conn, error) {
	conn, err := ipc.FileConn(os.NewFile(fdStarter, "starter"))
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(fdListener, "listener")
	listener, err := net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return listener, conn, nil
}

// detach makes the process independent of who started it.
func detach() error {
	// Handled, not ignored: what we start would go on ignoring them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	sid, err := unix.Getsid(0)
	if err != nil {
		return os.NewSyscallError("getsid", err)
	}
	if sid != os.Getpid() {
		if _, err := unix.Setsid(); err != nil {
			return os.NewSyscallError("setsid", err)
		}
	}
	unix.Umask(0o022)
	return os.Chdir("/")
}

// devNull replaces the standard streams, and returns a duplicate of the stderr
// there was. It comes first of all: while no other goroutine opens anything,
// each open gets the descriptor just closed, the lowest.
func devNull() (stderr *os.File, err error) {
	old, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, fdConfig+1)
	for fd := range 3 {
		if err := unix.Close(fd); err != nil && err != unix.EBADF {
			return os.Stderr, os.NewSyscallError("close", err)
		}
		got, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
		if err != nil || got != fd {
			return os.Stderr, fmt.Errorf("open %s as descriptor %d: got %d: %w", os.DevNull, fd, got, errors.Join(err, fs.ErrInvalid))
		}
	}
	if err == unix.EBADF { // there was none
		old, err = unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, fdConfig+1)
	}
	if err != nil {
		return os.Stderr, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(old), "stderr"), nil
}

// serve serves until the container has ended and all is told.
func (l *loop) serve(listener net.Listener, starter *ipc.Conn, configured <-chan struct{}) {
	s := &ipc.Server{
		Handler: control.ControlHandler(l),
		API:     control.Version,
		Admit:   admit,
		Panic: func(method string, value any, stack []byte) {
			l.output(logfile.Note, fmt.Appendf(nil, "run loop: %s: panic: %v\n%s", method, value, stack))
		},
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	wg.Go(func() {
		<-configured                  // or the process ends
		_ = s.ServeConn(ctx, starter) // it ends when the starter does
		l.orphaned()
	})
	wg.Go(func() {
		_ = s.Serve(ctx, listener) // without it there is still Abandon by the starter, and the container's end
	})
	<-l.closed
	last, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	l.farewell(last)
	_ = s.Shutdown(last) // who has not read by now does not
	wg.Wait()
}

// orphaned ends a run loop whose starter has gone without having started main. The
// record tells whoever comes after the starter that main has not run; without one
// it could as well have been killed with this process.
func (l *loop) orphaned() {
	if l.retire(false) {
		return
	}
	l.end(control.Exit{Code: codeNever, Error: "its starter went away before main was started"})
}

// farewell waits until the clients have read what they were given.
func (l *loop) farewell(ctx context.Context) {
	done := make(chan struct{})
	go func() { l.clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// admit lets in root and our own user. A run loop's socket is made 0600; this
// holds also if it were not.
func admit(p ipc.Peer) error {
	if p.UID != 0 && int(p.UID) != os.Geteuid() {
		return fmt.Errorf("uid %d: %w", p.UID, fs.ErrPermission)
	}
	return nil
}
