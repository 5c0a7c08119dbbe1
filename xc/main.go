// Command xc runs containers: it asks xcd, over its socket, to do so.
package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/xc/cli"
)

const defaultSocket = "/var/run/xc.sock"

func main() {
	app := &cli.App{
		Dial: dial, Lost: lost,
		Socket: os.Getenv("XC_SOCKET"), Version: version(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	if app.Socket == "" {
		app.Socket = defaultSocket
	}
	os.Exit(app.Run(context.Background(), os.Args[1:]))
}

// connection is an engine that can be hung up on.
type connection struct{ api.EngineClient }

func (c connection) Close() error { return c.C.Close() }

func dial(ctx context.Context, socket string) (api.Engine, error) {
	c, err := ipc.Open(ctx, socket)
	if err != nil {
		return nil, err
	}
	return connection{api.EngineClient{C: c}}, nil
}

// lost tells that the daemon went away before it answered: the connection
// ended, or it is shutting down and has cancelled what was running.
func lost(err error) bool {
	switch ipc.CodeOf(err) {
	case ipc.CodeUnavailable, ipc.CodeCanceled, ipc.CodeClosed:
		return true
	}
	return errors.Is(err, ipc.ErrLost)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
