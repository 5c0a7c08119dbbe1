// Snapshots lives the life of a container's root on ZFS: a file system is made
// and frozen, a clone of it is made and compared, and all of it destroyed.
//
//	snapshots tank/example
//
// The argument is the name of a dataset that does not exist yet. FreeBSD, or
// anything with zfs(8), as root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/joyboyid/xc/zfs"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: snapshots dataset")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "snapshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, top string) (err error) {
	var z zfs.ZFS
	defer func() { err = errors.Join(err, z.Close()) }()
	image, frozen, clone := top+"/image", top+"/image@frozen", top+"/clone"

	// What was made is destroyed in reverse, whatever happens in between.
	var made []string
	defer func() {
		for len(made) > 0 {
			name := made[len(made)-1]
			made = made[:len(made)-1]
			err = errors.Join(err, z.Destroy(ctx, name))
		}
	}()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{top, func() error { return z.Create(ctx, top, zfs.Props{"mountpoint": "none"}) }},
		{image, func() error { return z.Create(ctx, image, nil) }},
		{frozen, func() error { return z.Snapshot(ctx, frozen) }},
		{clone, func() error { return z.Clone(ctx, frozen, clone, nil) }},
	} {
		begin := time.Now()
		if err := step.do(); err != nil {
			return err
		}
		made = append(made, step.name)
		fmt.Printf("%-40s %v\n", step.name, time.Since(begin).Round(10*time.Microsecond))
	}

	list, err := z.List(ctx, top)
	if err != nil {
		return err
	}
	for _, d := range list {
		fmt.Printf("%-10s %-30s %8d bytes, from %q\n", d.Type, d.Name, d.Referenced, d.Origin)
	}
	// The snapshot cannot go while its clone is there.
	fmt.Println("refused, as it must be:", z.Destroy(ctx, frozen))
	return nil
}
