// Command unpack shows the packages image, image/store and image/registry without
// the engine: an image is pulled into an OCI layout, and its layers are unpacked.
//
//	go run ./examples/unpack DIRECTORY REFERENCE [PLATFORM]
//	go run ./examples/unpack /tmp/images alpine linux/arm64
//
// DIRECTORY gets the layout (images) and a tree for each chain of layers (roots).
// Nothing of the image is run, so that any platform will do: freebsd/amd64 or
// else linux/amd64 by default. It needs no privileges. Interrupt it and run it
// again: it goes on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("usage: unpack directory reference [platform]")
	}
	ref, err := image.ParseReference(args[1])
	if err != nil {
		return err
	}
	want := []ispec.Platform{{OS: "freebsd", Architecture: "amd64"}, {OS: "linux", Architecture: "amd64"}}
	if len(args) == 3 {
		p, err := image.ParsePlatform(args[2])
		if err != nil {
			return err
		}
		want = []ispec.Platform{p}
	}
	blobs, err := store.Open(filepath.Join(args[0], "images"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	trees, err := openRoots(filepath.Join(args[0], "roots"))
	if err != nil {
		return err
	}
	p := registry.Puller{
		// The names die with the process; blobs.Refs() would keep them in the layout.
		Images: &store.Images{Blobs: blobs, Refs: new(store.MemoryRefs), Roots: trees, Unpack: unpack},
		Client: new(registry.Client),
	}
	got, err := p.Pull(ctx, ref, registry.Options{Platforms: want, Progress: progress()})
	if err != nil {
		return err
	}
	fmt.Printf("%s for %s, %d bytes, runs %q\n", got.Name.Familiar(), image.FormatPlatform(got.Config.Platform), got.Size, got.Config.Config.Cmd)
	for _, l := range got.Layers {
		fmt.Printf("layer %s %9d bytes, chain %s\n", short(l.Blob.Digest), l.Blob.Size, short(l.Chain))
	}
	return nil
}

// progress prints a line when a layer enters a phase, not for each of its bytes.
func progress() func(registry.Event) {
	last := map[digest.Digest]registry.Phase{}
	return func(e registry.Event) {
		if last[e.Layer] != e.Phase {
			last[e.Layer] = e.Phase
			fmt.Printf("%s %-11s %9d of %d bytes\n", short(e.Layer), e.Phase, e.Current, e.Total)
		}
	}
}

func short(d digest.Digest) string { return d.Encoded()[:12] }
