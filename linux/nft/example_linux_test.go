package nft_test

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/joyboyid/xc/linux/nft"
)

// Port 8080 of the host leads to a container, until its site is deleted.
func Example() {
	table := nft.Table{Name: "xc-example"}
	web := nft.Redirect{Proto: "tcp", First: 8080, Last: 8080, Target: netip.MustParseAddr("10.1.0.2"), Port: 80}
	fmt.Println(web)
	if os.Getuid() != 0 {
		return
	}
	if err := table.SetSite(nft.Site{Name: "web", Redirects: []nft.Redirect{web}}); err != nil {
		fmt.Println(err)
		return
	}
	counts, err := table.Counts("web")
	if err == nil && len(counts) != 1 {
		fmt.Println(counts)
	}
	if err := table.DeleteSite("web"); err != nil {
		fmt.Println(err)
	}
	// Output: tcp *:8080 > 10.1.0.2:80
}
