// Command ocitar packs, unpacks, lists, compares and verifies OCI layers.
package main

import (
	"os"

	"github.com/joyboyid/xc/ocitar/confine"
)

func main() { os.Exit(confine.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
