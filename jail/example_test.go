package jail_test

import (
	"fmt"
	"net/netip"

	"github.com/joyboyid/xc/jail"
)

// What jail(8) would be told by
//
//	jail -c name=web path=/jails/web persist vnet=new allow.noraw_sockets
func ExampleCreate() {
	params := []jail.Param{
		jail.String("name", "web"),
		jail.String("path", "/jails/web"),
		jail.Flag("persist"),
		jail.Addrs("ip4.addr", netip.MustParseAddr("10.0.0.2")),
		jail.Bool("allow.raw_sockets", false),
	}
	fmt.Println(params) // id, err := jail.Create(params...)
	// Output: [name=web path=/jails/web persist ip4.addr=10.0.0.2 allow.noraw_sockets]
}
