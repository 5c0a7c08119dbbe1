package rctl_test

import (
	"fmt"
	"log"

	"github.com/joyboyid/xc/freebsd/rctl"
)

// A jail that is yet to be made may have at most a hundred processes.
func Example() {
	web := rctl.Jail("web")
	if err := rctl.Add(rctl.Rule{Subject: web, Resource: "maxproc", Action: "deny", Amount: 100}); err != nil {
		log.Fatal(err)
	}
	usage, err := rctl.Usage(web)
	if err != nil {
		log.Fatal(err)
	}
	log.Print(usage["maxproc"], " processes")
	if err := rctl.Remove(web); err != nil {
		log.Fatal(err)
	}
}

func ExampleJail() {
	fmt.Println(rctl.Jail("web"))
	// Output: jail:web
}
