package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

// layerOf writes a layer as a commit asks for it.
func layerOf(l imagetest.Layer) func(context.Context, io.Writer) (digest.Digest, error) {
	return func(_ context.Context, w io.Writer) (digest.Digest, error) {
		_, err := w.Write(l.Data)
		return l.DiffID, err
	}
}

func TestCommit(t *testing.T) {
	base := imagetest.NewLayer(t, image.MediaTypeDockerLayerGzip, map[string]string{"a": "1", "b": "1"})
	top := imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "2"})
	for name, img := range map[string]imagetest.Image{
		"docker": imagetest.NewDockerImage(t, amd64, base),
		"oci":    imagetest.NewImage(t, amd64, imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "1", "b": "1"})),
	} {
		t.Run(name, func(t *testing.T) {
			m, roots := imagetest.Open(t)
			from := add(t, m, "base", img)
			config := from.Config.Config
			config.User = "www"
			got, err := m.Commit(t.Context(), from, store.CommitOptions{
				Name: ref(t, "mine"), Config: config, Author: "me", Comment: "why", CreatedBy: "sh", MediaType: top.MediaType, Layer: layerOf(top),
			})
			if err != nil {
				t.Fatal(err)
			}
			h := got.Config.History
			if got.Manifest.MediaType != ispec.MediaTypeImageManifest || got.Layers[0].Blob.MediaType != ispec.MediaTypeImageLayerGzip || len(got.Layers) != 2 ||
				got.Config.Config.User != "www" || got.Config.Author != "me" || got.Config.OSVersion != "14.3" || got.Config.OS != "freebsd" ||
				len(h) != 2 || h[1].Comment != "why" || h[0].EmptyLayer || h[1].EmptyLayer {
				t.Errorf("%+v", got)
			}
			for file, want := range map[string]string{"a": "2", "b": "1"} {
				if b, err := os.ReadFile(filepath.Join(roots.Dir(got.Chain), "root", file)); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", file, b, err)
				}
			}
			if pruned, err := m.Prune(t.Context()); err != nil || len(pruned.Blobs)+len(pruned.Chains) != 0 {
				t.Errorf("debris: %+v, %v", pruned, err)
			}
			if problems, err := m.Check(t.Context()); err != nil || len(problems) != 0 {
				t.Errorf("%v, %v", problems, err)
			}
			// The configuration alone.
			config.User = "nobody"
			again, err := m.Commit(t.Context(), got, store.CommitOptions{Name: ref(t, "mine"), Config: config, CreatedBy: "USER"})
			if err != nil || again.Chain != got.Chain || again.ConfigID == got.ConfigID || !again.Config.History[2].EmptyLayer {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
}

// A commit that fails leaves what was there, and nothing else.
func TestCommitFails(t *testing.T) {
	m, _ := imagetest.Open(t)
	img := imagetest.NewImage(t, amd64, imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "1"}))
	from := add(t, m, "base", img)
	top := imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{"a": "2"})
	broken := errors.New("broken")
	for name, layer := range map[string]func(context.Context, io.Writer) (digest.Digest, error){
		"cut": func(_ context.Context, w io.Writer) (digest.Digest, error) {
			_, err := w.Write(top.Data[:10])
			return "", errors.Join(err, broken)
		},
		"false": func(_ context.Context, w io.Writer) (digest.Digest, error) {
			_, err := w.Write(top.Data)
			return digest.FromString("another"), err
		},
	} {
		_, err := m.Commit(t.Context(), from, store.CommitOptions{Name: ref(t, "mine"), MediaType: top.MediaType, Layer: layer})
		var mismatch *image.MismatchError
		if name == "cut" && !errors.Is(err, broken) || name == "false" && !errors.As(err, &mismatch) {
			t.Errorf("%s: %v", name, err)
		}
		if pruned, err := m.Prune(t.Context()); err != nil || len(pruned.Blobs)+len(pruned.Chains) != 0 || pruned.Bytes != 0 {
			t.Errorf("%s: debris: %+v, %v", name, pruned, err)
		}
		if refs, err := m.Refs.List(t.Context()); err != nil || len(refs) != 1 {
			t.Errorf("%s: %v, %v", name, refs, err)
		}
	}
}
