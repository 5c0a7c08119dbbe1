package devfs_test

import (
	"fmt"
	"log"

	"github.com/joyboyid/xc/freebsd/devfs"
)

// A ruleset of its own for a container that has a terminal and /dev/zfs; mount devfs
// with the option ruleset=1000 then.
func Example() {
	rules := devfs.Needs{Terminal: true, Paths: []string{"zfs"}}.Rules()
	if err := devfs.Set(1000, rules...); err != nil {
		log.Fatal(err)
	}
}

// All is hidden first; what is needed comes back.
func ExampleNeeds_Rules() {
	rules := devfs.Needs{}.Rules()
	for _, r := range rules[:3] {
		fmt.Printf("%q hide=%t unhide=%t\n", r.Path, r.Hide, r.Unhide)
	}
	// Output:
	// "" hide=true unhide=false
	// "null" hide=false unhide=true
	// "zero" hide=false unhide=true
}
