package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/internal/testns"
)

// killEnv makes the test binary a puller: "DIR REFERENCE POINT". It kills itself
// at the given point, counted from 1; at none if that is 0.
const killEnv = "XC_TEST_PULL"

func TestMain(m *testing.M) {
	if args := os.Getenv(killEnv); args != "" {
		if err := pullAndDie(strings.Fields(args)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if args := strings.Fields(os.Getenv(workEnv)); len(args) == 2 {
		fmt.Fprintln(os.Stderr, work(args[0], args[1]))
		os.Exit(1)
	}
	testns.Enter()
	os.Exit(m.Run())
}

func pullAndDie(args []string) error {
	images, _, err := imagetest.OpenAt(args[0])
	if err != nil {
		return err
	}
	ref, err := image.ParseReference(args[1])
	if err != nil {
		return err
	}
	last, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	points := make(chan int, 1)
	points <- 1
	point := func() {
		n := <-points
		if n == last {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // does not return
			select {}
		}
		points <- n + 1
	}
	images.Roots = deadlyRoots{images.Roots, point}
	images.Refs = deadlyRefs{images.Refs, point}
	p := &registry.Puller{Images: images, Client: &registry.Client{Retry: patient}}
	o := options()
	o.Progress = func(registry.Event) { point() }
	_, err = p.Pull(context.Background(), ref, o)
	return err
}

// deadlyRoots and deadlyRefs have a point before and after each change.
type deadlyRoots struct {
	store.Roots
	point func()
}

func (r deadlyRoots) Begin(ctx context.Context, chain, parent digest.Digest) (store.Draft, error) {
	r.point()
	d, err := r.Roots.Begin(ctx, chain, parent)
	r.point()
	return deadlyDraft{d, r.point}, err
}

type deadlyDraft struct {
	store.Draft
	point func()
}

func (d deadlyDraft) Commit(ctx context.Context) error {
	d.point()
	err := d.Draft.Commit(ctx)
	d.point()
	return err
}

type deadlyRefs struct {
	store.Refs
	point func()
}

func (r deadlyRefs) Put(ctx context.Context, name string, d ispec.Descriptor) error {
	r.point()
	err := r.Refs.Put(ctx, name, d)
	r.point()
	return err
}

// A pull that was killed leaves a sound store, and the next one completes it.
func survives(t *testing.T, dir string, ref image.Reference, want digest.Digest) {
	t.Helper()
	m, _, err := imagetest.OpenAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Blobs.Close(); err != nil {
			t.Error(err)
		}
	}()
	sound(t, m)
	p := &registry.Puller{Images: m, Client: &registry.Client{Retry: patient}}
	got, err := p.Pull(t.Context(), ref, options())
	if err != nil || got.Chain != want {
		t.Fatalf("next pull: %s, %v", got.Chain, err)
	}
	sound(t, m)
	if pruned, err := m.Prune(t.Context()); err != nil || len(pruned.Blobs)+len(pruned.Chains) > 0 || pruned.Bytes > 0 {
		t.Errorf("debris: %+v, %v", pruned, err)
	}
}

func puller(dir string, ref image.Reference, point int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", killEnv, dir, ref, point))
	return cmd
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func TestPullSurvivesKillAtEveryPoint(t *testing.T) {
	s := newServer(t)
	img := imagetest.NewImage(t, amd64, layer(t, "base", 1<<20), layer(t, "top", 1000))
	s.push(t, "x", "latest", img)
	for point := 1; ; point++ {
		dir := t.TempDir()
		out, err := puller(dir, s.ref(t, "x"), point).CombinedOutput()
		if err == nil {
			if point < 15 {
				t.Errorf("only %d points", point)
			}
			return
		}
		if !killed(err) {
			t.Fatalf("point %d: %v: %s", point, err, out)
		}
		survives(t, dir, s.ref(t, "x"), img.Chain())
	}
}

func TestPullSurvivesKillMidBlob(t *testing.T) {
	l := layer(t, "base", 2<<20)
	img := imagetest.NewImage(t, amd64, l)
	for _, sent := range []int{0, 1, 4096, int(l.Size) / 2, int(l.Size) - 1} {
		s := newServer(t)
		s.push(t, "x", "latest", img)
		dir := t.TempDir()
		cmd := puller(dir, s.ref(t, "x"), 0)
		started := make(chan struct{})
		s.mu.Lock() // the race detector does not see that the child comes after
		s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
			if object != l.Digest.String() || n > 1 {
				return false
			}
			<-started
			w.Header().Set("Content-Length", fmt.Sprint(l.Size))
			_, err := w.Write(l.Data[:sent])
			w.(http.Flusher).Flush()
			if err := errors.Join(err, cmd.Process.Kill()); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
			return true
		}
		s.mu.Unlock()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		if err := cmd.Wait(); !killed(err) {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		survives(t, dir, s.ref(t, "x"), img.Chain())
	}
}
