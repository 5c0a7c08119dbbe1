package pidfd_test

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"

	"github.com/joyboyid/xc/linux/pidfd"
)

func Example() {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	h, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	fmt.Println(h.Signal(syscall.SIGTERM))
	fmt.Println(h.Wait(context.Background()))
	status, err := h.Reap()
	fmt.Println(status.Signal(), err)
	// Output:
	// <nil>
	// <nil>
	// terminated <nil>
}
