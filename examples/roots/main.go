// Command roots shows dirstore alone: it keeps two layers in a directory, makes
// the roots of two containers of them, and tells how those would be mounted.
//
//	go run ./examples/roots [DIRECTORY]
//
// The best mode that works in DIRECTORY (a new temporary one by default) is
// used: overlayfs for root on Linux, else clones or copies.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/dirstore"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "roots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	parent := ""
	if len(args) > 0 {
		parent = args[0]
	}
	dir, err := os.MkdirTemp(parent, "roots")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := dirstore.Open(dir, nil)
	if err != nil {
		return err
	}
	fmt.Println("mode:", s.Mode())

	base, err := layer(ctx, s, "", "etc/motd", "welcome\n")
	if err != nil {
		return err
	}
	app, err := layer(ctx, s, base, "app/greeting", "hello\n")
	if err != nil {
		return err
	}
	for i, chain := range []string{base, app} {
		id := fmt.Sprintf("c%d", i)
		if err := s.Create(ctx, id, chain); err != nil {
			return err
		}
		l, err := s.Layout(id)
		if err != nil {
			return err
		}
		if l.Dir != "" {
			fmt.Printf("root %s is the directory %s\n", id, l.Dir)
		} else {
			fmt.Printf("root %s: cd %s && mount -t overlay -o %s overlay /mnt\n", id, l.Base, l.MountData())
		}
		if err := s.Remove(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// layer makes a layer of one file. Its chain id would be computed from the
// layers' digests; here any digest will do.
func layer(ctx context.Context, s *dirstore.Store, parent, name, content string) (string, error) {
	chain := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(parent+name+content)))
	d, err := s.Begin(ctx, chain, parent)
	if err != nil {
		return "", err
	}
	defer d.Abort(ctx) //nolint:errcheck // does nothing once it is committed
	file := filepath.Join(d.Dir(), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		return "", err
	}
	return chain, d.Commit(ctx)
}
