package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// The engine, in a process of its own, pulls, loads, commits, pushes, saves,
// removes and prunes images, all of that at the same time, and is killed.

const (
	imageWorkEnv = "XC_TEST_IMAGE_WORK" // "DIR HOST": this process works in DIR, with the registry HOST
	killsEnv     = "XC_TEST_KILLS"      // how often it is killed
)

// imageHelper is the process that works.
func imageHelper() bool {
	args := strings.Fields(os.Getenv(imageWorkEnv))
	if len(args) != 2 {
		return false
	}
	fmt.Fprintln(os.Stderr, workForEver(args[0], args[1]))
	os.Exit(1)
	return true
}

func workForEver(dir, host string) error {
	c := config(dir)
	c.Spare = false
	c.Report = func(err error) { fmt.Fprintln(os.Stderr, "reported:", err) }
	e, err := engine.Open(context.Background(), c)
	if err != nil {
		return err
	}
	fmt.Println("open")
	work, ctx := errgroup.WithContext(context.Background())
	for _, w := range imageWorks(dir, host) {
		work.Go(func() error {
			for n := 0; ; n++ {
				if err := w(ctx, e, n); err != nil {
					return err
				}
			}
		})
	}
	return work.Wait()
}

// imageWorks are what is done at the same time. Each has names of its own, but
// for the layers, which they share; nothing that one of them needs may be taken
// by the prune of another.
func imageWorks(dir, host string) []func(ctx context.Context, e api.Engine, n int) error {
	return []func(ctx context.Context, e api.Engine, n int) error{
		func(ctx context.Context, e api.Engine, n int) error {
			name := fmt.Sprintf("%s/app:%d", host, n%2)
			if _, err := e.PullImage(ctx, name, api.PullOptions{}, nil); err != nil {
				return err
			}
			if n%3 > 0 {
				return nil
			}
			_, err := e.RemoveImage(ctx, name, api.RemoveImageOptions{})
			return err
		},
		func(ctx context.Context, e api.Engine, n int) error {
			f, err := os.Open(filepath.Join(dir, "archive"))
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := e.LoadImages(ctx, api.LoadSpec{Archive: f}); err != nil {
				return fmt.Errorf("load: %w", err)
			}
			_, err = e.RemoveImage(ctx, "loaded:1", api.RemoveImageOptions{})
			return err
		},
		func(ctx context.Context, e api.Engine, n int) error {
			name := fmt.Sprintf("%s/made:%d", host, n%4)
			spec := api.CommitSpec{Name: name, ConfigChange: api.ConfigChange{Labels: map[string]string{"n": fmt.Sprint(n)}}}
			if _, err := e.CommitContainer(ctx, "source", spec); err != nil {
				return err
			}
			if _, err := e.PushImage(ctx, name, api.PushOptions{Index: n%2 == 0}, nil); err != nil {
				return err
			}
			return saveTo(ctx, e, name, "/dev/null")
		},
		func(ctx context.Context, e api.Engine, n int) error {
			_, err := e.PruneImages(ctx, api.PruneImagesOptions{})
			return err
		},
	}
}

func saveTo(ctx context.Context, e api.Engine, name, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(e.SaveImages(ctx, api.SaveSpec{Names: []string{name}, Archive: f}), f.Close())
}

// imageWorld is a state with a container, an archive and a registry to work with.
func imageWorld(t *testing.T) (dir, host string) {
	t.Helper()
	needRoot(t)
	root := rootOf(t)
	dir = shortTempDir(t)
	r := startRegistry(t)
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise) //nolint:errcheck // always nil
	base := layerTar(t, "base", noise)
	for i := range 2 {
		r.push(t, "app", fmt.Sprint(i), base, layerTar(t, "app", fmt.Append(nil, "app ", i)), root)
	}
	e := openEngine(t, dir, nil)
	importTar(t, e, "loaded:1", map[string]string{"a": string(noise[:200_000]), "b": "2"})
	if err := saveTo(t.Context(), e, "loaded:1", filepath.Join(dir, "archive")); err != nil {
		t.Fatal(err)
	}
	importRoot(t, e, "root")
	spec := api.ContainerSpec{Name: "source", Image: "root", Command: []string{"sh", "-c", "echo x >/made; head -c 300000 /dev/zero >/zeros"}}
	startWith(t, e, spec, api.StartOptions{})
	if _, err := e.WaitContainer(t.Context(), "source", api.WaitOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, r.host
}

// wholeImages fails the test unless a check finds nothing.
func wholeImages(t *testing.T, e api.Engine) {
	t.Helper()
	check, err := e.CheckImages(t.Context(), api.CheckImagesOptions{})
	if err != nil || len(check.Problems) > 0 {
		t.Errorf("check: %+v, %v", check.Problems, err)
	}
}

// Killed at any moment of any of it, the store is sound, the next one goes on,
// and at the end nothing is there that nobody needs. XC_TEST_KILLS sets how often;
// 12 by default.
func TestIntegrationImagesKilledAtRandom(t *testing.T) {
	dir, host := imageWorld(t)
	kills, seed := int(chaosNumber(t, killsEnv, 12)), rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range kills {
		killWork(t, dir, host, time.Duration(rnd.IntN(400))*time.Millisecond)
		e := openEngine(t, dir, nil)
		wholeImages(t, e)
		works := imageWorks(dir, host)
		if err := works[i%len(works)](t.Context(), e, i); err != nil {
			t.Errorf("kill %d: the next one: %v", i, err)
		}
		wholeImages(t, e)
		if i < kills-1 {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, exit := sh(t, e, api.ContainerSpec{Image: pulled(t, e, host)}, "cat /app"); out != "app 1" {
			t.Errorf("what was pulled: %q, %+v", out, exit)
		}
		if err := e.RemoveContainer(t.Context(), "source", api.RemoveOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := e.PruneImages(t.Context(), api.PruneImagesOptions{All: true}); err != nil {
			t.Error(err)
		}
		for _, kind := range []string{api.UsageImages, api.UsageLayers} {
			if u := usage(t, e, kind); u != (api.DiskUsage{Kind: kind}) {
				t.Errorf("left: %+v", u)
			}
		}
		closeClean(t, e)
	}
}

func pulled(t *testing.T, e api.Engine, host string) string {
	t.Helper()
	name := host + "/app:1"
	if _, err := e.PullImage(t.Context(), name, api.PullOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	return name
}

// killWork has a process work for a while, and kills it.
func killWork(t *testing.T, dir, host string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), imageWorkEnv+"="+dir+" "+host)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("open\n"))); err == nil {
		time.Sleep(after) // anywhere in the midst of it
	}
	cmd.Process.Kill() //nolint:errcheck // it may have ended: see below
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL || said.Len() > 0 {
		t.Fatalf("it was not killed, or complained: %v: %s", err, said.String())
	}
}

// Pulls, loads, commits, pushes, removals and prunes at the same time do not take
// from each other what they need.
func TestIntegrationImagesAtOnce(t *testing.T) {
	dir, host := imageWorld(t)
	e := openEngine(t, dir, nil)
	defer closeClean(t, e)
	work, ctx := errgroup.WithContext(t.Context())
	stop := time.Now().Add(3 * time.Second)
	for i, w := range imageWorks(dir, host) {
		work.Go(func() error {
			for n := 0; n < 3 || time.Now().Before(stop); n++ {
				if err := w(ctx, e, n); err != nil {
					return fmt.Errorf("work %d: %w", i, err)
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	wholeImages(t, e)
	if out, exit := sh(t, e, api.ContainerSpec{Image: pulled(t, e, host)}, "cat /app; cat /base | wc -c"); !strings.HasPrefix(out, "app 1") || !strings.Contains(out, "1048576") {
		t.Errorf("%q, %+v", out, exit)
	}
}
