package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// A program that runs a container and needs no daemon.
func Example() {
	engine.Main() // first of all: this executable is its own helper
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{StateDir: "/var/tmp/demo", RunDir: "/var/tmp/demo/run"})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	if _, err := e.PullImage(ctx, "alpine", api.PullOptions{}, nil); err != nil {
		log.Fatal(err)
	}
	spec := api.ContainerSpec{Image: "alpine", Command: []string{"echo", "hello"}, AutoRemove: true}
	c, err := e.CreateContainer(ctx, spec)
	if err != nil {
		log.Fatal(err)
	}
	if err := e.StartContainer(ctx, c.ID, api.StartOptions{Stdio: api.Stdio{Stdout: os.Stdout, Stderr: os.Stderr}}); err != nil {
		log.Fatal(err)
	}
	exit, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(exit.Code)
}
