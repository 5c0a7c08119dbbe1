package dirstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/dirstore"
)

func Example() {
	dir, err := os.MkdirTemp("", "dirstore")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy})
	if err != nil {
		panic(err)
	}

	chain := "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	d, err := s.Begin(ctx, chain, "")
	if err != nil {
		panic(err)
	}
	defer d.Abort(ctx) // does nothing once it is committed
	if err := os.WriteFile(filepath.Join(d.Dir(), "motd"), []byte("hello"), 0o644); err != nil {
		panic(err)
	}
	if err := d.Commit(ctx); err != nil {
		panic(err)
	}

	if err := s.Create(ctx, "web", chain); err != nil {
		panic(err)
	}
	layout, err := s.Layout("web")
	if err != nil {
		panic(err)
	}
	b, err := os.ReadFile(filepath.Join(layout.Dir, "motd"))
	fmt.Println(string(b), err)
	fmt.Println(s.Remove(ctx, "web"))
	// Output:
	// hello <nil>
	// <nil>
}
