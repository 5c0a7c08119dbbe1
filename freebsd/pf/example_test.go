package pf_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/joyboyid/xc/freebsd/pf"
)

// Port 8080 of the host goes to a jail.
func Example() {
	ctx := context.Background()
	there, err := pf.Calls(ctx, "rdr-anchor", "xc-rdr")
	if err != nil {
		log.Fatal(err)
	}
	if !there {
		log.Fatal(`pf.conf needs the line: rdr-anchor "xc-rdr/*"`)
	}
	web := pf.Redirect{Proto: "tcp", First: 8080, Last: 8080, Target: netip.MustParseAddr("10.0.0.2"), Port: 80}
	if err := pf.Load(ctx, "xc-rdr/web", []pf.Redirect{web}); err != nil {
		log.Fatal(err)
	}
	if err := pf.Clear(ctx, "xc-rdr/web"); err != nil {
		log.Fatal(err)
	}
}

func ExampleCheckTable() {
	fmt.Println(pf.CheckTable("xc:network:blue"))
	// Output: <nil>
}
