package confine_test

import (
	"context"
	"fmt"
	"os"

	"github.com/joyboyid/xc/ocitar/confine"
)

// The layer on standard input is unpacked by a child in which nothing else exists.
func Example() {
	c := confine.Child{Argv: []string{"/usr/local/bin/ocitar"}}
	sum, err := c.Unpack(context.Background(), "/layers/7", os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err) // names the entry and its offset
		os.Exit(1)
	}
	fmt.Println(sum.DiffID)
}
