package registry_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

const benchSize = 256 << 20 // bytes of all layers

// benchImage serves an image of n layers of random bytes, uncompressed.
func benchImage(b *testing.B, layers int) (*server, imagetest.Image) {
	s := newServer(b)
	var list []imagetest.Layer
	for i := range layers {
		data := make([]byte, benchSize/layers)
		if _, err := rand.Read(data); err != nil {
			b.Fatal(err)
		}
		list = append(list, imagetest.NewLayer(b, ispec.MediaTypeImageLayer, map[string]string{fmt.Sprint("f", i): string(data)}))
	}
	img := imagetest.NewImage(b, amd64, list...)
	s.push(b, "x", "latest", img)
	return s, img
}

// The whole pull, to be held against its two halves.
func BenchmarkPull(b *testing.B) {
	for _, layers := range []int{1, 8} {
		b.Run(fmt.Sprint(layers, "layers"), func(b *testing.B) {
			s, _ := benchImage(b, layers)
			b.SetBytes(benchSize)
			for b.Loop() {
				b.StopTimer()
				m, roots, err := imagetest.OpenAt(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				roots.Layered = true
				m.Unpack = unpack
				p := &registry.Puller{Images: m, Client: &registry.Client{}}
				b.StartTimer()
				if _, err := p.Pull(b.Context(), s.ref(b, "x"), options()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := m.Blobs.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// What curl would do: the bytes of one blob to a file, unverified.
func BenchmarkPlainDownload(b *testing.B) {
	s, img := benchImage(b, 1)
	b.SetBytes(benchSize)
	for b.Loop() {
		resp, err := http.Get(s.URL + "/v2/x/blobs/" + img.Layers[0].Digest.String())
		if err != nil {
			b.Fatal(err)
		}
		f, err := os.CreateTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(f, resp.Body); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// Unpacking alone, of a blob that is here.
func BenchmarkUnpack(b *testing.B) {
	_, img := benchImage(b, 1)
	m, roots, err := imagetest.OpenAt(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	l := img.Layers[0]
	if _, err := m.Blobs.Write(b.Context(), nil, l.MediaType, l.Data); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		draft, err := roots.Begin(b.Context(), l.DiffID, "")
		if err != nil {
			b.Fatal(err)
		}
		f, err := m.Blobs.Open(l.Digest)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unpack(b.Context(), draft, f); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
