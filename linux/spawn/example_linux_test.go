//go:build amd64 || arm64

package spawn_test

import (
	"fmt"
	"syscall"

	"github.com/joyboyid/xc/linux/spawn"
	"golang.org/x/sys/unix"
)

// A shell in another directory, that can gain no privileges.
func Example() {
	var p spawn.Program
	p.Call("chdir", unix.SYS_CHDIR, p.String("/proc/self"))
	p.Call("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	pid, pidfd, err := p.Start(spawn.Options{}, "/bin/sh", []string{"sh", "-c", "grep -q 'NoNewPrivs:.1' status"}, []string{"PATH=/bin:/usr/bin"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer unix.Close(pidfd)
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, 0, nil)
	fmt.Println(status.ExitStatus(), err)

	p.Call("chdir", unix.SYS_CHDIR, p.String("/nowhere"))
	_, _, err = p.Start(spawn.Options{}, "/bin/sh", []string{"sh"}, nil)
	fmt.Println(err)
	// Output:
	// 0 <nil>
	// chdir: no such file or directory
}
