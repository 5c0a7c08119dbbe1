package mount_test

import (
	"log"

	"github.com/joyboyid/xc/freebsd/mount"
)

// A devfs of a jail, mounted and, by what it was then and not by its path, unmounted.
func Example() {
	const dev = "/jails/c1/dev"
	if err := mount.Mount(mount.Entry{Type: "devfs", Path: dev, Options: []string{"ruleset=4"}}); err != nil {
		log.Fatal(err)
	}
	mounted, err := mount.At(dev)
	if err != nil {
		log.Fatal(err)
	}
	if err := mounted.Unmount(false); err != nil {
		log.Fatal(err)
	}
}
