package control_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
)

// A daemon that was restarted finds a container and stops it.
func Example() {
	ctx := context.Background()
	c, err := ipc.Open(ctx, "/var/run/xc/c1.sock")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	var loop control.Control = control.ControlClient{C: c}
	exit, err := loop.Exec(ctx, control.Process{Args: []string{"uptime"}}, control.Stdio{Stdout: os.Stdout})
	fmt.Println(exit.Code, err)
	err = loop.Stop(ctx, 15, 10*time.Second)
	fmt.Println(err)
}
