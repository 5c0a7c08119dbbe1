// Command devices shows what FreeBSD gives a container besides its files: a
// devfs that a ruleset has thinned out, network interfaces, and an account of
// what is used. It uses freebsd/devfs, freebsd/mount, freebsd/netif and
// freebsd/rctl, and runs no program.
//
//	go build -o devices ./examples/devices && ./devices
//
// FreeBSD only, as root. The ruleset and the mount are gone when it ends.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/freebsd/rctl"
)

func main() {
	for _, show := range []func() error{devices, interfaces, usage} {
		if err := show(); err != nil {
			fmt.Fprintln(os.Stderr, "devices:", err)
			os.Exit(1)
		}
	}
}

// devices mounts a devfs as a container with a terminal would see it. What was
// made is undone in reverse, whatever happens in between.
func devices() (err error) {
	taken, err := devfs.List()
	if err != nil {
		return err
	}
	number := uint16(60000) // rulesets belong to the whole host: find a free one
	for slices.Contains(taken, number) {
		number++
	}
	defer func() { err = errors.Join(err, devfs.Delete(number)) }() // also of a part of it
	if err := devfs.Set(number, devfs.Needs{Terminal: true}.Rules()...); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "devices")
	if err != nil {
		return err
	}
	// Not RemoveAll: should the unmount fail, it would remove device nodes.
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	err = mount.Mount(mount.Entry{Type: "devfs", Path: dir, Options: []string{fmt.Sprintf("ruleset=%d", number)}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mount.Unmount(dir, false)) }()

	fmt.Printf("devices that ruleset %d leaves:\n", number)
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != "." {
			fmt.Printf("  %11s %s\n", d.Type(), name)
		}
		return err
	})
}

func interfaces() error {
	var host netif.Stack
	list, err := host.Interfaces()
	if err != nil {
		return err
	}
	fmt.Println("interfaces:")
	for _, i := range list {
		fmt.Printf("  %d %-8s up %-5v mtu %-6d %v\n", i.Index, i.Name, i.Up, i.MTU, i.Addrs)
	}
	return nil
}

func usage() error {
	if !rctl.Enabled() {
		fmt.Println("usage: not counted; set kern.racct.enable=1 in loader.conf and boot again")
		return nil
	}
	user := rctl.Subject(fmt.Sprintf("user:%d", os.Getuid())) // the kernel knows numbers only
	used, err := rctl.Usage(user)
	if err != nil {
		return err
	}
	fmt.Printf("usage of %s:\n", user)
	for _, resource := range slices.Sorted(maps.Keys(used)) {
		fmt.Printf("  %-16s %d\n", resource, used[resource])
	}
	return nil
}
