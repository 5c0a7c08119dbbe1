package kqueue

import (
	"syscall"
	"testing"
)

// A read may be full and have been the last. The loop then looks again, and does
// not sleep over what settle has to do.
func TestLastReadIsFull(t *testing.T) {
	const most = 12 // two reads of five notes, and more
	t.Run("of a tree", func(t *testing.T) {
		for n := 1; n <= most; n++ {
			b := newBench(t, newSim(1))
			tree := b.launch()
			for range n - 1 {
				b.fork(tree.root)
			}
			b.turn()
			if err := tree.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if b.turn(); !b.ended[tree] {
				t.Errorf("%d have ended, and their tree is not called empty", n)
			}
		}
	})
	t.Run("of others", func(t *testing.T) {
		for n := 1; n <= most; n++ {
			b := newBench(t, newSim(1))
			other := b.fork(simSelf)
			for range n - 1 {
				b.fork(other)
			}
			b.turn()
			for _, pid := range b.alive(other) {
				b.exit(pid, 0)
			}
			if b.turn(); len(b.procs) != 2 {
				t.Errorf("%d of %d orphans were left zombies", len(b.procs)-2, n-1)
			}
		}
	})
}
