//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "sandbox: namespaces and control groups are of Linux; on FreeBSD see package jail")
	os.Exit(125)
}
