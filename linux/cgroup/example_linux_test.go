package cgroup_test

import (
	"context"
	"fmt"
	"log"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/joyboyid/xc/linux/cgroup"
)

// A program is born into a group, and all that it leaves behind is waited for.
func Example() {
	ctx := context.Background()
	base, err := cgroup.Find()
	if err != nil {
		log.Fatal(err) // errors.ErrUnsupported: no cgroup2 to write to
	}
	g, err := cgroup.Make(filepath.Join(base, "job"))
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	cmd := exec.Command("sh", "-c", "sleep 1 & echo started")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	out, err := cmd.Output()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
	if err := g.WaitEmpty(ctx); err != nil {
		log.Fatal(err)
	}
	if err := g.Remove(ctx); err != nil {
		log.Fatal(err)
	}
}
