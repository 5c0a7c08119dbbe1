package host

import (
	"context"
	"os"
	"syscall"

	"github.com/joyboyid/xc/site"
)

// RootSteps make the root of a container that does not run ready for OpenRoot.
func (h *Host) RootSteps(s Spec) []site.Step {
	s.ReadOnly = false
	if !h.mountsRoot(s) {
		return nil
	}
	root := h.RootDir(s)
	return []site.Step{step(kindMounts, thing{Path: root}, func(context.Context) error {
		return h.mountRoot(s, jailOptions{}, root)
	})}
}

// OpenRoot opens a container's root for the *at system calls. Of one that runs,
// whose run loop's pid is loop, it is what its processes see; of one that does not, what
// is mounted into it is not there.
func (h *Host) OpenRoot(s Spec, loop int, _ []int) (*os.File, error) {
	s.ReadOnly = s.ReadOnly && loop != 0
	return os.OpenFile(h.RootDir(s), openPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
}
