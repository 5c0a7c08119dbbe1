package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRunningAttacker swaps a directory for a link out of the root, and moves
// another out of it, as fast as it can. No name may reach the secret meanwhile.
func TestRunningAttacker(t *testing.T) {
	r, secret := outside(t, "a/b/c/", "a/b/c/secret", "evil -> ..")
	top, root := filepath.Dir(secret), r.Name()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Errors are part of the game: the swap may meet itself half done.
			_ = os.Rename(root+"/a/b", top+"/moved")
			_ = os.Symlink("../..", root+"/a/b")
			_ = os.Remove(root + "/a/b")
			_ = os.Rename(top+"/moved", root+"/a/b")
		}
	})
	names := []string{"a/b/../../secret", "a/b/secret", "a/b/c/../../../secret", "a/b/c/../../secret", "evil/secret", "a/b/../secret"}
	for i := range 20000 {
		name := names[i%len(names)]
		var st unix.Stat_t
		_, err := r.walkTo("stat", name, statFollow(&st)) // by hand, whatever the kernel offers
		if err == nil && st.Size == int64(len("secret")) {
			t.Fatalf("%s reached the secret", name)
		}
		if st, err := r.Stat(name); err == nil && st.Size == int64(len("secret")) {
			t.Fatalf("%s reached the secret through the kernel", name)
		} else if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

func BenchmarkStat(b *testing.B) {
	r, _ := outside(b, "usr/lib/x/y/", "lib -> usr/lib", "usr/lib/x/y/f")
	for b.Loop() {
		if _, err := r.Stat("lib/x/y/f"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	r, _ := outside(b, "usr/lib/x/y/", "lib -> usr/lib", "usr/lib/x/y/f")
	for b.Loop() {
		if _, err := r.Look("lib/x/y/f"); err != nil {
			b.Fatal(err)
		}
	}
}
