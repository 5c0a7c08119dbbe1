package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/site"
)

const (
	victimEnv = "XC_STORE_VICTIM"
	batch     = 5 // undos of one transaction
)

func TestMain(m *testing.M) {
	if path := os.Getenv(victimEnv); path != "" {
		fmt.Fprintln(os.Stderr, victim(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim writes until it is killed, and says on stdout what it has finished.
func victim(path string) error {
	s, err := store.Open(path)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := 0; ; i++ {
		id := fmt.Sprintf("s%d-%d", os.Getpid(), i)
		entries, err := s.Append(ctx, id, site.Run, undos(batch))
		if err != nil {
			return err
		}
		fmt.Println("journal", id)
		if err := s.CreateContainer(ctx, container(id, "n"+id, i)); err != nil {
			return err
		}
		fmt.Println("record", id)
		if i%2 == 0 {
			for _, e := range entries {
				if err := s.Drop(ctx, e.ID); err != nil {
					return err
				}
			}
			fmt.Println("dropped", id)
		}
	}
}

// A process that writes is killed at some point, many times over the same
// database: what it said it had finished is there, and nothing is there by half.
func TestKilledWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	tag := ""
	for range 12 {
		done := killAfter(t, path, 1+rand.IntN(40))
		s, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if tag != "" && s.Tag() != tag {
			t.Errorf("the tag was %s, now it is %s", tag, s.Tag())
		}
		tag = s.Tag()
		checkSurvivors(t, s, done)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter starts a victim, kills it once it has said n lines, and returns
// all that it said.
func killAfter(t *testing.T, path string, n int) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := map[string]string{}
	lines := bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		var what, id string
		if _, err := fmt.Fscanln(lines, &what, &id); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			break
		}
		done[id] = what
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the victim was not killed: %v", cmd.ProcessState)
	}
	return done
}

func checkSurvivors(t *testing.T, s *store.Store, done map[string]string) {
	t.Helper()
	ctx := t.Context()
	for id, what := range done {
		entries, err := s.Entries(ctx, id, site.Run)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case what == "journal" && len(entries) != batch, what == "dropped" && len(entries) != 0:
			t.Errorf("site %s: %q was finished, but it has %d entries", id, what, len(entries))
		}
		if _, err := s.Container(ctx, id); what != "journal" && err != nil {
			t.Errorf("container %s was recorded: %v", id, err)
		}
	}
	sites, err := s.Sites(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range sites {
		if _, told := done[id]; told {
			continue // a drop of its entries may have been interrupted
		}
		entries, err := s.Entries(ctx, id, site.Run)
		if _, isRecorded := s.Container(ctx, id); err != nil || isRecorded != nil && len(entries) != batch {
			t.Errorf("site %s has %d entries of %d, %v", id, len(entries), batch, err)
		}
	}
}
