// Command ocitar packs, unpacks, lists, compares and verifies OCI layers.
package main

import (
	"os"

	"github.com/joyboyid/xc/ocitar/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
