package proxy

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/ipc"
)

// Arg is the first argument of a program that is to be a proxy; the second is the
// id of its site, for ps(1).
const Arg = "@proxy"

// nobody is the user and group that a proxy of root's becomes: that of the base
// systems (65534).
const nobody = 65534

// listenerFD is the UNIX socket that a proxy inherits, and serves on.
const listenerFD = 3

// farewell is how long the last answers get.
const farewell = 2 * time.Second

// Main is the process, if the arguments ask for one; then it does not return.
// Otherwise it returns false.
func Main() bool {
	if len(os.Args) != 3 || os.Args[1] != Arg {
		return false
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "xc-proxy:", err)
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

func serve() error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT) // those of a terminal that the daemon was started from
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(50)
	unix.CloseOnExec(listenerFD)
	f := os.NewFile(listenerFD, "listener")
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	f.Close()
	owner := os.Geteuid()
	if err := drop(); err != nil {
		return err
	}
	s := newServer(limit(), sessionTime)
	rpc := &ipc.Server{Handler: ProxyHandler(s), Admit: func(p ipc.Peer) error {
		if p.UID != 0 && int(p.UID) != owner {
			return fmt.Errorf("uid %d: %w", p.UID, fs.ErrPermission)
		}
		return nil
	}}
	failed := make(chan error, 1)
	go func() { failed <- rpc.Serve(context.Background(), l) }()
	select {
	case <-s.closed:
	case err := <-failed:
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return rpc.Shutdown(ctx)
}

// drop gives up root: what is open stays open, and nothing else is needed.
func drop() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		return os.NewSyscallError("setgid", err)
	}
	return os.NewSyscallError("setuid", syscall.Setuid(nobody))
}
