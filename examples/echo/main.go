// Echo is a daemon and its client over package ipc.
//
//	echo serve /tmp/echo.sock &
//	echo say /tmp/echo.sock hello           # one call
//	echo copy /tmp/echo.sock <in >out       # the daemon copies from our stdin to our stdout
//	echo tick /tmp/echo.sock                # a stream, until ^C, which the daemon notices
//
// The interface below is all that is written by hand; go generate makes the
// client, which implements it, and the daemon's dispatch.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/joyboyid/xc/ipc"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Echo

// Echo is what the daemon does for its clients.
type Echo interface {
	Say(ctx context.Context, text string) (string, error)          // Say returns the text.
	Copy(ctx context.Context, from, to *os.File) (int64, error)    // Copy copies from one file to another.
	Tick(ctx context.Context, emit func(at time.Time) error) error // Tick emits the time every second.
}

// daemon is an implementation like any other: it knows nothing of sockets.
type daemon struct{}

func (daemon) Say(_ context.Context, text string) (string, error) { return text, nil }

func (daemon) Copy(_ context.Context, from, to *os.File) (int64, error) { return io.Copy(to, from) }

func (daemon) Tick(ctx context.Context, emit func(time.Time) error) error {
	for t := time.NewTicker(time.Second); ; {
		select {
		case at := <-t.C:
			if err := emit(at); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin, stdout *os.File) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: echo serve|say|copy|tick SOCKET [TEXT]")
	}
	if args[0] == "serve" {
		return serve(ctx, args[1])
	}
	c, err := ipc.Open(ctx, args[1])
	if err != nil {
		return err
	}
	defer c.Close()
	var echo Echo = EchoClient{C: c}
	switch args[0] {
	case "say":
		text, err := echo.Say(ctx, fmt.Sprint(args[2:]))
		fmt.Fprintln(stdout, text)
		return err
	case "copy":
		_, err := echo.Copy(ctx, stdin, stdout)
		return err
	case "tick":
		return echo.Tick(ctx, func(at time.Time) error { _, err := fmt.Fprintln(stdout, at); return err })
	}
	return fmt.Errorf("%s: no such command", args[0])
}

// serve answers until a signal, then lets the running calls finish for a while.
func serve(ctx context.Context, path string) error {
	l, err := ipc.Listen(path, ipc.ListenOptions{Mode: 0o600})
	if err != nil {
		return err
	}
	s := &ipc.Server{Handler: EchoHandler(daemon{})}
	down := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		down <- s.Shutdown(last)
	})
	if err := s.Serve(context.Background(), l); err != nil {
		return err
	}
	return <-down
}
