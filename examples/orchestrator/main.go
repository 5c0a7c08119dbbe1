// Orchestrator keeps replicas of an image running, with the engine in process.
//
//	go run ./examples/orchestrator                        # replicas of this very program
//	go run ./examples/orchestrator -n 5 alpine sleep 1000
//
// A replica that ends is replaced. SIGHUP replaces all by whatever the name of the
// image means by now, one by one: the next is up before the last is stopped. An
// interrupt ends them, and nothing is left.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/examples/internal/selfimage"
)

func main() {
	engine.Main() // this executable is the run loop and the layer codec as well
	if os.Args[0] == "/self" {
		time.Sleep(time.Hour) // a replica
	}
	n := flag.Int("n", 3, "how many replicas to keep running")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "orchestrator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, args []string) (err error) {
	dir, err := os.MkdirTemp("", "xc-orchestrator-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e, err := engine.Open(ctx, engine.Config{
		StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"),
		Report: func(err error) { fmt.Fprintln(os.Stderr, "orchestrator:", err) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	o := &orchestrator{engine: e, spec: api.ContainerSpec{Image: "self", AutoRemove: true}, slots: make([]chan chan error, n)}
	if len(args) == 0 {
		_, err = selfimage.Import(ctx, e, "self", dir)
	} else {
		o.spec.Image, o.spec.Command = args[0], args[1:]
		_, err = e.PullImage(ctx, args[0], api.PullOptions{}, nil)
	}
	if err != nil {
		return err
	}
	var keepers sync.WaitGroup
	for i := range o.slots {
		o.slots[i] = make(chan chan error)
		keepers.Go(func() { o.keep(ctx, i) })
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	for ctx.Err() == nil {
		select {
		case <-hangup:
			fmt.Println("replaced all:", o.replace(ctx))
		case <-ctx.Done():
		}
	}
	keepers.Wait()
	left, err := e.Leftovers(context.Background())
	fmt.Println("left on the host:", left)
	return err
}

// orchestrator has a slot for each replica: who sends a channel there has it replaced,
// and is told on that channel how it went.
type orchestrator struct {
	engine api.Engine
	spec   api.ContainerSpec
	slots  []chan chan error
}

// replace replaces one by one, and stops at the first that does not stay up.
func (o *orchestrator) replace(ctx context.Context) (err error) {
	for i := 0; i < len(o.slots) && err == nil; i++ {
		done := make(chan error, 1)
		select {
		case o.slots[i] <- done:
			err = <-done
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// keep keeps one replica running until ctx ends.
func (o *orchestrator) keep(ctx context.Context, slot int) {
	id, ended := o.start(slot)
	for ctx.Err() == nil {
		select {
		case err := <-ended:
			fmt.Printf("slot %d: %s ended: %v\n", slot, id, err)
			time.Sleep(time.Second) // what always ends must not spin
			id, ended = o.start(slot)
		case done := <-o.slots[slot]:
			next, nextEnded := o.start(slot)
			select {
			case err := <-nextEnded:
				done <- err
			case <-time.After(time.Second): // it stays up
				done <- o.engine.StopContainer(context.WithoutCancel(ctx), id, api.StopOptions{})
				id, ended = next, nextEnded
			}
		case <-ctx.Done():
		}
	}
	_ = o.engine.StopContainer(context.WithoutCancel(ctx), id, api.StopOptions{}) // what is left is told at the end
}

// start starts a replica, which removes itself when it ends; ended gets how.
func (o *orchestrator) start(slot int) (id string, ended chan error) {
	running, ended := make(chan string, 2), make(chan error, 1)
	go func() {
		exit, err := o.engine.RunContainer(context.Background(), o.spec, api.StartOptions{}, func(p api.RunProgress) error {
			if p.State == api.StateRunning {
				running <- p.ID
			}
			return nil
		})
		ended <- cmp.Or(err, fmt.Errorf("code %d", exit.Code))
		running <- "nothing" // unless it was
	}()
	id = <-running
	fmt.Printf("slot %d: %s is up\n", slot, id)
	return id, ended
}
