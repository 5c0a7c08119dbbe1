package dirstore_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/internal/testns"
)

const (
	victimEnv = "XC_DIRSTORE_VICTIM"
	files     = 50 // of a tree
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	testns.Enter()
	os.Exit(m.Run())
}

// victim makes and removes layers and roots until it is killed.
func victim(dir string) error {
	ctx := context.Background()
	s, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		c, id := chain(i%3+1), fmt.Sprintf("r%d", i%4)
		if err := s.Remove(ctx, id); err != nil {
			return err
		}
		if has, err := s.Has(ctx, c); err != nil || has {
			if err := s.Create(ctx, id, c); err != nil {
				return err
			}
			fmt.Println("root")
			continue
		}
		d, err := s.Begin(ctx, c, "")
		if err != nil {
			return err
		}
		for n := range files {
			if err := os.WriteFile(fmt.Sprintf("%s/%d", d.Dir(), n), []byte("content"), 0o600); err != nil {
				return err
			}
		}
		if err := d.Commit(ctx); err != nil {
			return err
		}
		fmt.Println("layer")
	}
}

// A process that works in a store is killed anywhere, many times: layers and
// roots that are there are whole, and Sweep removes the rest.
func TestKilledAnywhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "roots")
	for range 8 {
		kill(t, dir, rand.IntN(10), time.Duration(rand.IntN(10_000))*time.Microsecond)
		s, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy})
		if err != nil {
			t.Fatal(err)
		}
		roots, err := s.Roots()
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range roots {
			l, err := s.Layout(id)
			if err != nil {
				t.Errorf("root %s: %v", id, err)
			}
			whole(t, l.Dir)
		}
		list, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for c := range list {
			probe := "probe"
			if err := s.Create(t.Context(), probe, c); err != nil {
				t.Errorf("create from %s: %v", c, err)
			}
			l, err := s.Layout(probe)
			if err != nil {
				t.Fatal(err)
			}
			whole(t, l.Dir)
			if err := s.Remove(t.Context(), probe); err != nil {
				t.Error(err)
			}
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		empty(t, dir)
	}
}

// kill starts a victim and kills it some time after it has said n lines.
func kill(t *testing.T, dir string, n int, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range n {
		lines.Scan()
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	for lines.Scan() { // until it is dead
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the victim was not killed: %v", cmd.ProcessState)
	}
}

func whole(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != files {
		t.Errorf("%s has %d files, %v; want %d", dir, len(entries), err, files)
	}
	for _, e := range entries {
		if got := read(t, filepath.Join(dir, e.Name())); got != "content" {
			t.Errorf("%s has %q", e.Name(), got)
		}
	}
}
