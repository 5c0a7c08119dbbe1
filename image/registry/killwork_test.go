package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

// workEnv makes the test binary one that loads, commits, pushes, saves, removes
// and prunes images until it is killed: "DIR HOST", where DIR has an archive and
// a layer.
const workEnv = "XC_TEST_WORK"

// killsEnv is how often TestSurvivesKillsAtWork kills.
const killsEnv = "XC_TEST_KILLS"

func work(dir, host string) error {
	m, _, err := imagetest.OpenAt(dir)
	if err != nil {
		return err
	}
	archive, err := os.ReadFile(filepath.Join(dir, "archive"))
	if err != nil {
		return err
	}
	layer, err := os.ReadFile(filepath.Join(dir, "layer"))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if err := workOnce(context.Background(), m, host, archive, layer, n%5); err != nil {
			return err
		}
	}
}

func workOnce(ctx context.Context, m *store.Images, host string, archive, layer []byte, n int) error {
	loaded, err := m.LoadArchive(ctx, bytes.NewReader(archive), store.LoadOptions{Platforms: []ispec.Platform{amd64}})
	if err != nil {
		return err
	}
	base, lease, err := m.Acquire(ctx, loaded[0].Name)
	if err != nil {
		return err
	}
	defer lease.Release()
	name := image.Reference{Domain: host, Path: "work", Tag: fmt.Sprint("t", n)}
	made, err := m.Commit(ctx, base, store.CommitOptions{
		Name: name, Config: base.Config.Config, CreatedBy: fmt.Sprint("step ", n), MediaType: ispec.MediaTypeImageLayer,
		Layer: func(_ context.Context, w io.Writer) (digest.Digest, error) {
			_, err := w.Write(layer)
			return digest.FromBytes(layer), err
		},
	})
	if err != nil {
		return err
	}
	p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient, Chunk: 64 << 10}}
	if _, err := p.Push(ctx, made, name, registry.PushOptions{Index: n%2 == 0}); err != nil {
		return err
	}
	if err := m.Save(ctx, io.Discard, []store.Image{made}); err != nil {
		return err
	}
	if n == 4 {
		if err := m.Remove(ctx, name); err != nil {
			return err
		}
	}
	_, err = m.Prune(ctx)
	return err
}

// Killed at any moment of any work, the store is sound, and the next one who
// opens it goes on.
func TestSurvivesKillsAtWork(t *testing.T) {
	kills := 25
	if s := os.Getenv(killsEnv); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	s := newServer(t)
	dir := t.TempDir()
	from, img := imported(t, amd64, 200_000)
	var archive bytes.Buffer
	if err := from.Save(t.Context(), &archive, []store.Image{img}); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"archive": archive.Bytes(), "layer": imagetest.Tar(t, map[string]string{"new": "file"})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), workEnv+"="+dir+" "+s.host())
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50*time.Millisecond + rand.N(250*time.Millisecond)) // anything will do
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); !killed(err) {
			t.Fatalf("it ended by itself: %v: %s", err, out.Bytes())
		}
		m, _, err := imagetest.OpenAt(dir)
		if err != nil {
			t.Fatal(err)
		}
		sound(t, m)
		if _, err := m.Prune(t.Context()); err != nil {
			t.Error(err)
		}
		sound(t, m)
		if err := workOnce(t.Context(), m, s.host(), archive.Bytes(), imagetest.Tar(t, map[string]string{"new": "file"}), 1); err != nil {
			t.Error(err)
		}
		if err := m.Blobs.Close(); err != nil {
			t.Error(err)
		}
	}
}
