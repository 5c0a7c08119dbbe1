package confine

import (
	"fmt"
	"os"
	"syscall"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// openLower opens a lower layer: in capability mode ".." cannot leave it.
func openLower(dir string) (*inroot.Root, error) { return inroot.Open(dir) }

// enter makes root the world of this process: chroot(2) for who may, and capability mode
// (cap_enter(2)), in which only what is open already, and what is below it, can be reached.
func enter(root string, _ bool) (*inroot.Root, error) {
	if os.Geteuid() == 0 {
		if err := unix.Chroot(root); err != nil {
			return nil, fmt.Errorf("chroot: %w", err)
		}
		root = "/"
	}
	if err := unix.Chdir(root); err != nil {
		return nil, err
	}
	r, err := inroot.Open(".")
	if err != nil {
		return nil, err
	}
	if err := unix.CapEnter(); err != nil {
		return nil, fmt.Errorf("cap_enter: %w", err)
	}
	return r, nil
}
