package kqueue_test

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"github.com/joyboyid/xc/kqueue"
)

// Main ends at once; the tree ends with what it has left behind.
func ExampleTracker() {
	tracker, err := kqueue.NewTracker()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close()
	cmd := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "(sleep 0.1; exit 4) & exit 3"}}
	tree, err := tracker.Start(cmd)
	if err != nil {
		fmt.Println(err)
		return
	}
	var exits []int
	for {
		e, err := tree.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Kind == kqueue.Exit {
			exits = append(exits, e.Status.ExitStatus())
		}
	}
	fmt.Println("exits:", exits, "main:", cmd.ProcessState)
	// Output: exits: [3 0 4] main: exit status 3
}
