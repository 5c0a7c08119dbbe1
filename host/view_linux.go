package host

import (
	"context"
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/linux/ns"
	"github.com/joyboyid/xc/site"
)

// kindView is journaled for a look at a root, of which nothing is left here
// when the engine dies.
const kindView = "view"

// ViewUndo gives back what a View has taken that was cut off.
func (h *Host) ViewUndo(s Spec) site.Undo { return step(kindView, thing{Name: s.ID}, nil).Undo }

// View calls use with a directory that shows the root of a container that was
// made and never ran, until it returns.
func (h *Host) View(ctx context.Context, s Spec, use func(root string) error) error {
	if s.Dir != "" {
		return use(s.Dir)
	}
	root, err := h.root(s)
	if err != nil {
		return err
	}
	switch {
	case root.Dir != "":
		return use(root.Dir)
	case len(root.Lower) == 1: // overlayfs wants two, or one to write to
		return use(root.Lower[0])
	}
	tree, err := privately(func() (*ns.Tree, error) { return ns.Overlay(ns.Layers{Lower: root.Lower}, ns.NoDev) })
	if err != nil {
		return fmt.Errorf("look at root %s: %w", s.ID, err)
	}
	defer tree.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	return use("/proc/self/fd/" + strconv.Itoa(tree.FD()))
}

// privately makes a tree in a mount namespace of a thread of its own: older
// kernels need a mount point for that, which is nobody else's to see, nor left
// when the engine dies.
func privately(build func() (*ns.Tree, error)) (tree *ns.Tree, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = ns.Private(); err == nil {
			tree, err = build()
		}
	}()
	<-done
	return tree, err
}
