package ns_test

import (
	"fmt"
	"log"

	"github.com/joyboyid/xc/linux/ns"
)

// What the first process of new namespaces does with them.
func Example() {
	if err := ns.Private(); err != nil { // nothing propagates to the host
		log.Fatal(err)
	}
	proc, err := ns.Proc()
	if err != nil {
		log.Fatal(err)
	}
	dev, err := ns.Dev(ns.DevOptions{})
	if err != nil {
		log.Fatal(err)
	}
	root, err := ns.Overlay(ns.Layers{Lower: []string{"/layers/b", "/layers/a"}}, ns.NoDev)
	if err != nil {
		log.Fatal(err)
	}
	if err := root.Pivot(); err != nil { // the host's mounts are gone
		log.Fatal(err)
	}
	if err := proc.Place("/proc"); err != nil {
		log.Fatal(err)
	}
	if err := dev.Place("/dev"); err != nil {
		log.Fatal(err)
	}
	if err := ns.Mask(ns.MaskedPaths()...); err != nil {
		log.Fatal(err)
	}
}

func ExampleNodes() {
	for _, n := range ns.Nodes() {
		fmt.Println(n.Name, n.Major, n.Minor)
	}
	// Output:
	// null 1 3
	// zero 1 5
	// full 1 7
	// random 1 8
	// urandom 1 9
	// tty 5 0
}
