package sitetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// system is the seat of a probe that is a process.
type system struct{}

func (system) readFile(name string) ([]byte, error)  { return os.ReadFile(name) }
func (system) writeFile(name string, b []byte) error { return os.WriteFile(name, b, 0o666) }
func (system) workDir() (string, error)              { return os.Getwd() }
func (system) hostname() (string, error)             { return os.Hostname() }
func (system) pause(d time.Duration) bool            { time.Sleep(d); return true }

func (system) leave(args []string) error {
	cmd := exec.Cmd{Path: probePath, Args: append([]string{probePath}, args...), Env: os.Environ(), Stdout: os.Stdout, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	return cmd.Start() // and not waited for
}

func (system) catch() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

// die ends this process by a signal.
func die(sig syscall.Signal) {
	signal.Reset(sig)
	_ = syscall.Kill(os.Getpid(), sig)
	time.Sleep(time.Minute) // not reached
}

// systemVerbs are those that need a system.
func systemVerbs() map[string]verb {
	return map[string]verb{
		"user":        userVerb,
		"descriptors": descriptorsVerb,
		"terminal":    terminalVerb,
		"interfaces":  interfacesVerb,
		"devices":     devicesVerb,
		"sees":        seesVerb,
	}
}

// userVerb prints uid, gid and the groups, sorted, without repetition.
func userVerb(p *probe, _ []string) (int, syscall.Signal) {
	groups, err := os.Getgroups()
	if err != nil {
		return p.fail(err)
	}
	groups = append(groups, os.Getgid())
	slices.Sort(groups)
	return p.print("%d:%d %v", os.Getuid(), os.Getgid(), slices.Compact(groups))
}

// descriptorsVerb prints the descriptors that were inherited: those that
// execve(2) would hand on. What this process has opened itself is not among them.
func descriptorsVerb(p *probe, _ []string) (int, syscall.Signal) {
	var open []int
	for fd := range 1024 {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			open = append(open, fd)
		}
	}
	return p.print("%v", open)
}

// terminalVerb prints the size of its controlling terminal.
func terminalVerb(p *probe, _ []string) (int, syscall.Signal) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return p.fail(err)
	}
	defer tty.Close()
	size, err := unix.IoctlGetWinsize(int(tty.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return p.fail(err)
	}
	return p.print("%dx%d", size.Col, size.Row)
}

// interfacesVerb prints the interfaces, and which addresses they have.
func interfacesVerb(p *probe, _ []string) (int, syscall.Signal) {
	list, err := net.Interfaces()
	if err != nil {
		return p.fail(err)
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			return p.fail(err)
		}
		if _, err := fmt.Fprintln(p.stdout, i.Name, i.Flags&net.FlagUp != 0, i.Flags&net.FlagLoopback != 0, addrs); err != nil {
			return p.fail(err)
		}
	}
	return 0, 0
}

// devicesVerb prints the names in /dev.
func devicesVerb(p *probe, _ []string) (int, syscall.Signal) {
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return p.fail(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return p.print("%s", strings.Join(names, " "))
}

// seesVerb tells of each pid whether there is such a process.
func seesVerb(p *probe, a []string) (int, syscall.Signal) {
	for _, pid := range a {
		if err := syscall.Kill(number(pid), 0); !errors.Is(err, syscall.ESRCH) {
			return p.print("%s: %v", pid, err)
		}
	}
	return p.print("none")
}
