package netif_test

import (
	"log"
	"net/netip"
	"strings"

	"github.com/joyboyid/xc/freebsd/netif"
)

// A jail with a stack of its own, on a bridge of the host.
func Example() {
	const jid = 7
	var host netif.Stack // the caller's own
	a, err := host.Create("epair")
	if err != nil {
		log.Fatal(err)
	}
	b := strings.TrimSuffix(a, "a") + "b"
	if err := host.AddMember("bridge0", a); err != nil {
		log.Fatal(err)
	}
	if err := host.Up(a); err != nil {
		log.Fatal(err)
	}
	if err := host.Move(b, jid); err != nil {
		log.Fatal(err)
	}

	in, err := netif.Enter(jid)
	if err != nil {
		log.Fatal(err)
	}
	defer in.Close()
	if err := in.Up(b); err != nil {
		log.Fatal(err)
	}
	if err := in.AddAddr(b, netip.MustParsePrefix("10.0.0.2/24")); err != nil {
		log.Fatal(err)
	}
	if err := in.AddRoute(netif.Default(netip.MustParseAddr("10.0.0.1"))); err != nil {
		log.Fatal(err)
	}
}
