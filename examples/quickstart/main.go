// Quickstart runs a container with the engine in process: no daemon, no
// configuration, no network.
//
//	go run ./examples/quickstart          # an image made of this very program
//	go run ./examples/quickstart alpine   # an image from a registry
//
// Without an argument it packs its own executable into an image, runs it, and
// shows what a container is: its host name, its processes, its addresses and
// its root; that it lasts as long as a descendant of main lives, though main
// has exited; its exit code; and that nothing of it is left on the host.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/examples/internal/selfimage"
)

// insidePath is this program inside the image.
const insidePath = "/quickstart"

func main() {
	engine.Main() // this executable is the run loop and the layer codec as well
	if os.Args[0] == insidePath {
		os.Exit(inside(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(125)
	}
	if len(os.Args) > 1 {
		os.Exit(code)
	}
}

func run(ctx context.Context, args []string) (code int, err error) {
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf("containers need root: sudo env \"PATH=$PATH\" go run ./examples/quickstart")
	}
	dir, err := os.MkdirTemp("", "xc-quickstart-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	e, err := engine.Open(ctx, engine.Config{
		StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"),
		Report: func(err error) { fmt.Fprintln(os.Stderr, "quickstart:", err) },
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := e.Close(); err == nil {
			err = cerr
		}
	}()
	spec := api.ContainerSpec{Hostname: "quickstart"}
	if len(args) > 0 {
		spec.Image, spec.Command = args[0], args[1:]
		err = pull(ctx, e, args[0])
	} else {
		spec.Image = "quickstart"
		var img api.Image
		img, err = selfimage.Import(ctx, e, spec.Image, dir)
		fmt.Printf("imported this program as image %.19s for %s\n", img.ID, img.Platform)
	}
	if err != nil {
		return 0, err
	}
	exit, err := runContainer(ctx, e, spec)
	if err != nil {
		return 0, err
	}
	left, err := e.Leftovers(ctx)
	if err != nil {
		return 0, err
	}
	if len(left) > 0 {
		return 0, fmt.Errorf("left on the host: %v", left)
	}
	fmt.Printf("\nexit code %d; no process, mount, interface, dataset or directory of it is left\n", exit.Code)
	return exit.Code, nil
}

func pull(ctx context.Context, e api.Engine, name string) error {
	_, err := e.PullImage(ctx, name, api.PullOptions{}, func(p api.PullProgress) error {
		if p.Phase == api.PhaseDownloaded || p.Phase == api.PhaseDone {
			fmt.Printf("%.19s %s\n", p.Layer, p.Phase)
		}
		return nil
	})
	return err
}

// runContainer is the life of a container, from its record to its removal.
func runContainer(ctx context.Context, e api.Engine, spec api.ContainerSpec) (exit api.Exit, err error) {
	c, err := e.CreateContainer(ctx, spec)
	if err != nil {
		return exit, err
	}
	defer func() {
		rerr := e.RemoveContainer(context.WithoutCancel(ctx), c.ID, api.RemoveOptions{Force: true})
		if err == nil {
			err = rerr
		}
	}()
	fmt.Printf("container %s of image %s\n\n", c.Name, c.Image)
	stdio := api.Stdio{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{Stdio: stdio}); err != nil {
		return exit, err
	}
	return e.WaitContainer(ctx, c.ID, api.WaitOptions{})
}
