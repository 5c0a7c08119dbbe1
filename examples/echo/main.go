// Echo is a daemon and its client over package ipc, descriptors included:
//
//	echo serve /tmp/echo.sock
//	echo say /tmp/echo.sock hello
//	echo copy /tmp/echo.sock <in >out    # the daemon copies, from our stdin to our stdout
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/joyboyid/xc/ipc"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Echo

// Echo is what the daemon does. EchoClient and EchoHandler are generated from it.
type Echo interface {
	Say(ctx context.Context, text string) (string, error)       // Say returns the text.
	Copy(ctx context.Context, from, to *os.File) (int64, error) // Copy copies from one file to another.
}

type daemon struct{} // an Echo that knows nothing of sockets

func (daemon) Say(_ context.Context, text string) (string, error) { return text, nil }

func (daemon) Copy(_ context.Context, from, to *os.File) (int64, error) { return io.Copy(to, from) }

func serve(ctx context.Context, path string) error {
	l, err := ipc.Listen(path, ipc.ListenOptions{Mode: 0o600})
	if err != nil {
		return err
	}
	s := &ipc.Server{Handler: EchoHandler(daemon{})}
	context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()) }) // what runs may finish
	return s.Serve(context.Background(), l)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "serve" {
		return serve(ctx, args[1])
	}
	if len(args) < 2 || args[0] != "say" && args[0] != "copy" {
		return errors.New("usage: echo serve|say|copy SOCKET [WORD...]")
	}
	c, err := ipc.Open(ctx, args[1])
	if err != nil {
		return err
	}
	defer c.Close()
	var echo Echo = EchoClient{C: c}
	if args[0] == "copy" {
		_, err := echo.Copy(ctx, os.Stdin, os.Stdout)
		return err
	}
	text, err := echo.Say(ctx, strings.Join(args[2:], " "))
	fmt.Println(text)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second ^C ends it at once
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}
