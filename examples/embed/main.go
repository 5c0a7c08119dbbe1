// Embed is an orchestrator of one page: it keeps a number of replicas of a
// command running, with the engine in process and no daemon.
//
//	go build ./examples/embed && sudo ./embed -replicas 3 alpine sleep 5
//
// A replica that ends is replaced. Interrupt it, and it removes them all. Kill
// it with SIGKILL instead, start it again, and it finds the replicas it had.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

func main() {
	engine.Main()
	replicas := flag.Int("replicas", 2, "how many to keep running")
	dir := flag.String("dir", "/var/tmp/xc-embed", "state directory")
	flag.Parse()
	if flag.NArg() < 1 {
		fmt.Fprintln(os.Stderr, "usage: embed [-replicas N] [-dir DIR] IMAGE [COMMAND...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *replicas, flag.Arg(0), flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, replicas int, image string, command []string) (err error) {
	e, err := engine.Open(ctx, engine.Config{
		StateDir: dir, RunDir: filepath.Join(dir, "run"),
		Report: func(err error) { fmt.Fprintln(os.Stderr, "embed:", err) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if _, err := e.InspectImage(ctx, image); errors.Is(err, fs.ErrNotExist) {
		fmt.Println("pulling", image)
		_, err = e.PullImage(ctx, image, api.PullOptions{}, nil)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			name := fmt.Sprintf("replica-%d", i)
			spec := api.ContainerSpec{Name: name, Image: image, Command: command}
			if err := keep(ctx, e, spec); err != nil {
				fmt.Fprintln(os.Stderr, "embed:", err)
			}
		})
	}
	wg.Wait()
	return nil
}

// keep runs one replica again and again until ctx ends, then removes it.
func keep(ctx context.Context, e api.Engine, spec api.ContainerSpec) error {
	defer e.RemoveContainer(context.WithoutCancel(ctx), spec.Name, api.RemoveOptions{Force: true}) //nolint:errcheck // the last word either way
	_, err := e.CreateContainer(ctx, spec)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for ctx.Err() == nil {
		err := e.StartContainer(ctx, spec.Name, api.StartOptions{})
		if err != nil && !errors.Is(err, fs.ErrExist) { // it runs since before we died
			return err
		}
		exit, err := e.WaitContainer(ctx, spec.Name, api.WaitOptions{})
		if err != nil {
			return ctx.Err()
		}
		fmt.Printf("%s ended with code %d, starting it again\n", spec.Name, exit.Code)
		select {
		case <-time.After(time.Second): // a command that fails at once must not spin
		case <-ctx.Done():
		}
	}
	return nil
}
