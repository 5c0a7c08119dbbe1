package engine_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/proc"
)

// The programs beside a container cannot be changed through it, not even by root of
// the host by that way (CVE-2019-5736), nor be looked into from inside.
func TestIntegrationSealedPrograms(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.InspectContainer(t.Context(), start(t, e, api.ContainerSpec{Image: "root", Command: []string{"sleep", "1000"}}).ID)
	if err != nil {
		t.Fatal(err)
	}
	main, err := proc.Read(c.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{"run loop": runLoop(t, c), "pid 1": main.Parent} {
		exe := fmt.Sprintf("/proc/%d/exe", pid)
		if to, err := os.Readlink(exe); err != nil || !strings.HasPrefix(to, "/memfd:xc-runloop") {
			t.Errorf("%s is executed from %s, %v", name, to, err)
		}
		if f, err := os.OpenFile(exe, os.O_WRONLY, 0); err == nil {
			_, err = f.Write([]byte("#!"))
			f.Close()
			if !errors.Is(err, syscall.EPERM) {
				t.Errorf("writing to the program of %s: %v", name, err)
			}
		} else if !errors.Is(err, syscall.ETXTBSY) && !errors.Is(err, syscall.EPERM) {
			t.Errorf("opening the program of %s: %v", name, err)
		}
		f, err := os.Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&all != all {
			t.Errorf("seals of %s: %#x, %v", name, seals, err)
		}
		f.Close()
	}
	for _, file := range []string{"exe", "mem", "environ", "fd/0", "root/etc/passwd"} {
		exit, err := e.ExecContainer(t.Context(), c.ID, api.ExecOptions{Args: []string{"cat", "/proc/1/" + file}})
		if err != nil || exit.Code == 0 {
			t.Errorf("/proc/1/%s is read from inside: %+v, %v", file, exit, err)
		}
	}
}
