// Reap runs a command and tells what becomes of it and of everything it starts,
// until the last of them is gone:
//
//	reap sh -c 'sleep 1 & sh -c "sleep 2 &"; exit 3'
//
// It ends with the command's status. FreeBSD only; no privilege is needed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/joyboyid/xc/kqueue"
)

func main() {
	code, err := reap(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "reap:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func reap(args []string) (code int, err error) {
	if len(args) == 0 {
		return 0, errors.New("usage: reap command [argument ...]")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	tracker, err := kqueue.NewTracker()
	if err != nil {
		return 0, err
	}
	defer tracker.Close()
	cmd := &exec.Cmd{Path: path, Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	tree, err := tracker.Start(cmd)
	if err != nil {
		return 0, err
	}

	// Ctrl-C goes to all of them.
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(interrupted, func() { _ = tree.Signal(syscall.SIGTERM) })

	for {
		e, err := tree.Next(context.Background())
		if err == io.EOF {
			return code, nil
		}
		if err != nil {
			return 0, err
		}
		fmt.Fprintln(os.Stderr, "reap:", e, "· alive:", tree.PIDs())
		if e.Kind != kqueue.Exit || e.PID != cmd.Process.Pid {
			continue
		}
		if code = e.Status.ExitStatus(); e.Status.Signaled() {
			code = 128 + int(e.Status.Signal())
		}
	}
}
