package netif_test

import (
	"fmt"
	"log"
	"net/netip"

	"github.com/joyboyid/xc/linux/netif"
)

// A bridge for containers, with the address that they have as their gateway.
func Example() {
	c, err := netif.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.AddBridge(netif.Bridge{Name: "xc0"}); err != nil {
		log.Fatal(err)
	}
	if err := c.AddAddr("xc0", netip.MustParsePrefix("172.16.0.1/24")); err != nil {
		log.Fatal(err)
	}
	if err := c.Set("xc0", netif.Change{Up: netif.Yes}); err != nil {
		log.Fatal(err)
	}
	i, err := c.Lookup("xc0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(i.Name, i.Kind, i.Up)
}
