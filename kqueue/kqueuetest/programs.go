package kqueuetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// envProgram is set for the test binary when it is to be one of the programs.
const envProgram = "KQUEUETEST_PROGRAM"

// Main ends the process as one of the programs, if it was started as such.
func Main() {
	if os.Getenv(envProgram) == "" {
		return
	}
	if err := program(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(0)
}

// Held waits for Release and ends with status 3.
func Held() {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		os.Exit(98)
	}
	os.Exit(3)
}

func program(args []string) error {
	switch args[0] {
	case "exit":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "raise":
		sig, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		if err := syscall.Kill(os.Getpid(), syscall.Signal(sig)); err != nil {
			return err
		}
		time.Sleep(time.Hour) // the signal is on its way
	case "hold":
		Held()
	case "double": // main starts one that starts one that waits; both end
		return Child(nil, "start", "hold").Run()
	case "start":
		return Child(nil, args[1:]...).Start()
	case "setsid":
		return Child(&syscall.SysProcAttr{Setsid: true}, "hold").Start()
	case "daemon":
		return Child(&syscall.SysProcAttr{Setsid: true}, "daemon2").Run()
	case "daemon2":
		cmd := Child(&syscall.SysProcAttr{Setpgid: true}, "hold")
		cmd.Stderr, cmd.Dir = nil, "/"
		return cmd.Start()
	case "vfork": // sh(1) starts a simple command by vfork(2) where it can
		cmd := Child(nil)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `"$0" hold <&3 & exit 0`, cmd.Path}
		cmd.ExtraFiles = []*os.File{os.Stdin} // sh gives a background command no stdin
		return cmd.Run()
	case "chain": // three that wait, and for each other
		return chain(args[1:])
	case "careless": // leaves zombies behind, and waits
		return careless()
	case "stubborn": // two sessions heed no signal they need not heed
		if err := Child(&syscall.SysProcAttr{Setsid: true}, "heedless").Start(); err != nil {
			return err
		}
		fallthrough
	case "heedless":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
		ready()
	case "threads":
		return threads(args[1:])
	}
	return fmt.Errorf("no program %q", args)
}

// Child is a command that runs one of the programs, with the oracle's pipe.
func Child(attr *syscall.SysProcAttr, program ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: os.Args[0], Args: append([]string{os.Args[0]}, program...), SysProcAttr: attr,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
}

// ready tells Run.Ready, and waits for Release.
func ready() {
	if _, err := os.Stdout.Write([]byte{'.'}); err != nil {
		os.Exit(97)
	}
	Held()
}

func careless() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	for range 5 {
		cmd := Child(nil, "exit", "5")
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	w.Close()
	if _, err := io.Copy(io.Discard, r); err != nil { // until they are gone
		return err
	}
	ready()
	return nil
}

func chain(args []string) error {
	if len(args) == 2 {
		Held()
	}
	cmd := Child(nil, append([]string{"chain"}, append(args, "x")...)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_ = cmd.Wait() // status 3, as ours
	os.Exit(3)
	return nil
}

// threads forks from several threads at the same time, without exec: each of n
// threads forks m processes, which live as the third argument says: they "exit",
// "hold" until Release, or leave an "orphan" that exits.
func threads(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	m, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	life, ok := map[string]int{"exit": lifeExit, "hold": lifeHold, "orphan": lifeOrphan}[args[2]]
	if !ok {
		return fmt.Errorf("no life %q", args[2])
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for range m {
				if errs[i] = forkOne(life); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// What a forked process does.
const (
	lifeExit = iota
	lifeHold
	lifeOrphan
)

// forkOne forks a process and waits for it unless it holds on. The table of
// processes may be full of zombies that nobody has had time to wait for.
func forkOne(life int) error {
	pid, errno := fork(life)
	for errno == syscall.EAGAIN {
		time.Sleep(time.Millisecond)
		pid, errno = fork(life)
	}
	if errno != 0 {
		return errno
	}
	if life == lifeHold {
		return nil
	}
	var st syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &st, 0, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return err
		case st.ExitStatus() != 3:
			return fmt.Errorf("a forked process: %s", describe(st))
		}
		return nil
	}
}
