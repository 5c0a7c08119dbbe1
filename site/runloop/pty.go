package runloop

import (
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/site/control"
)

// Terminals is what a [Tenant] may also have: pseudo-terminals of its own, so
// that ttyname(3) finds them in the container. Without it they are the host's,
// which is right for a jail: devfs(5) is one.
type Terminals interface {
	// Terminal opens a pseudo-terminal. Both files are the caller's.
	Terminal() (master, tty *os.File, err error)
}

// openTerminal opens a pseudo-terminal with a window of this size. The master
// does not block and can be given deadlines; the tty, which goes to programs,
// blocks. (Packages leave both as they happen to be on each system.)
func openTerminal(tenant Tenant, size control.Size) (master, tty *os.File, err error) {
	open := pty.Open
	if t, ok := tenant.(Terminals); ok {
		open = t.Terminal
	}
	m, t, err := open()
	if err != nil {
		return nil, nil, fmt.Errorf("open terminal: %w", err)
	}
	master, err = reopen(m, true)
	if err != nil {
		return nil, nil, fmt.Errorf("open terminal: %w", errors.Join(err, t.Close()))
	}
	tty, err = reopen(t, false)
	if err == nil {
		if size == (control.Size{}) {
			size = control.Size{Rows: 24, Cols: 80}
		}
		err = resize(master, size)
	}
	if err != nil {
		if tty != nil {
			err = errors.Join(err, tty.Close())
		}
		return nil, nil, fmt.Errorf("open terminal: %w", errors.Join(err, master.Close()))
	}
	return master, tty, nil
}

// reopen moves f to a new *os.File in this mode.
func reopen(f *os.File, nonblock bool) (*os.File, error) {
	d, err := dup(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// The mode is set before the *os.File that lasts is made from it.
	if cerr := withFD(d, func(fd int) { err = unix.SetNonblock(fd, nonblock) }); cerr != nil || err != nil {
		return nil, errors.Join(err, cerr, d.Close(), f.Close())
	}
	last, err := dup(d)
	return last, errors.Join(err, d.Close(), f.Close())
}

// resize sets the window of a terminal; its foreground processes get SIGWINCH.
func resize(master *os.File, s control.Size) error {
	var err error
	cerr := withFD(master, func(fd int) {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Cols})
	})
	if cerr != nil {
		return cerr
	}
	return os.NewSyscallError("ioctl TIOCSWINSZ", err)
}
