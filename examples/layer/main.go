// Command layer shows the layer codec alone: it packs a directory into an OCI layer,
// unpacks that into another, changes a file there, and packs what has changed.
//
//	go run ./examples/layer DIRECTORY
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/ocitar"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: layer DIRECTORY")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "layer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	top, err := os.MkdirTemp("", "layer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)

	var layer bytes.Buffer
	p := ocitar.Packer{Compression: ocitar.Zstd}
	sum, err := p.Pack(ctx, &layer, dir, ocitar.Tree(dir))
	if err != nil {
		return err
	}
	show("packed", sum)

	var u ocitar.Unpacker // the zero value restores all it may
	if sum, err = u.Unpack(ctx, top, &layer); err != nil {
		return err
	}
	show("unpacked", sum)

	if err := os.WriteFile(filepath.Join(top, "new file"), []byte("hello\n"), 0o644); err != nil {
		return err
	}
	if sum, err = p.Pack(ctx, &layer, top, ocitar.Compare(dir, top)); err != nil {
		return err
	}
	show("difference", sum)
	for e, err := range ocitar.List(ctx, &layer, ocitar.Limits{}) {
		if err != nil {
			return err
		}
		fmt.Printf("  %c %s\n", e.Type.Letter(), e.Name)
	}
	return nil
}

func show(what string, s ocitar.Summary) {
	fmt.Printf("%s: %d entries, %d bytes, %d compressed with %s\n  diff id %s\n  digest  %s\n",
		what, s.Entries, s.TarSize, s.Size, s.Compression, s.DiffID, s.Digest)
	for _, n := range s.Notes {
		fmt.Printf("  note: %s: %s\n", n.Entry, n.Text)
	}
}
