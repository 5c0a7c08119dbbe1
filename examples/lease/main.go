// Command lease shows ipam alone: addresses of a prefix for each owner named.
//
//	go run ./examples/lease 10.1.0.0/16 web db web
//
// It needs no privileges, touches no interface, and forgets all when it ends.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/joyboyid/xc/ipam"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lease:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		args = []string{"fd00:1::/64", "web", "db"}
	}
	prefix, err := netip.ParsePrefix(args[0])
	if err != nil {
		return err
	}
	pool := ipam.Pool{Prefix: prefix, Ledger: ipam.NewMemory()}
	for _, owner := range args[1:] {
		a, err := pool.Take(context.Background(), owner)
		if err != nil {
			return err
		}
		fmt.Println(owner, a)
	}
	return nil
}
