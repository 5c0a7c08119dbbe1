// Command bridge shows linux/netif alone: the interfaces, addresses and routes
// of this machine, and, given a name, a bridge of that name with an address.
//
//	go run ./examples/bridge
//	go run ./examples/bridge xc0 172.16.0.1/24 fd00::1/64
//
// The second form needs root. ip link delete xc0 undoes it.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/joyboyid/xc/linux/netif"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bridge:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	c, err := netif.Open()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is written at its end
	if len(args) > 0 {
		return bridge(c, args[0], args[1:])
	}
	list, err := c.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		fmt.Println(i.Name, i.Kind, i.MAC, i.MTU, i.Addrs)
	}
	routes, err := c.Routes()
	for _, r := range routes {
		fmt.Println(r.Prefix, "by", r.Gateway, r.Name)
	}
	return err
}

// bridge makes one, or nothing at all.
func bridge(c *netif.Conn, name string, addrs []string) error {
	if err := c.AddBridge(netif.Bridge{Name: name}); err != nil {
		return err
	}
	for _, text := range addrs {
		p, err := netip.ParsePrefix(text)
		if err == nil {
			err = c.AddAddr(name, p)
		}
		if err != nil {
			return errors.Join(err, c.Delete(name))
		}
	}
	return c.Set(name, netif.Change{Up: netif.Yes})
}
