package store_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

// A root file system becomes an image, gets a second name, loses its first, and
// survives a prune. Roots come from a backend: zfsstore, dirstore, or here a
// plain directory.
func ExampleImages() {
	dir, err := os.MkdirTemp("", "images")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	images, _, err := imagetest.OpenAt(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer images.Blobs.Close()

	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Typeflag: tar.TypeReg}); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	name, _ := image.ParseReference("hello:1")
	other, _ := image.ParseReference("greeting")
	if _, err := images.Import(ctx, &archive, store.ImportOptions{
		Name:     name,
		Platform: ispec.Platform{OS: "freebsd", Architecture: "amd64"},
		Config:   ispec.ImageConfig{Cmd: []string{"/hello"}},
		Created:  time.Unix(0, 0),
	}); err != nil {
		log.Fatal(err)
	}
	if err := images.Tag(ctx, name, other); err != nil {
		log.Fatal(err)
	}
	if err := images.Remove(ctx, name); err != nil {
		log.Fatal(err)
	}
	if _, err := images.Prune(ctx); err != nil {
		log.Fatal(err)
	}
	list, err := images.List(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, img := range list {
		fmt.Println(img.Name.Familiar(), image.FormatPlatform(*img.Manifest.Platform), img.Config.Config.Cmd, len(img.Layers))
	}
	// Output: greeting:latest freebsd/amd64 [/hello] 1
}
