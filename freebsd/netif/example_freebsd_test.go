package netif_test

import (
	"fmt"

	"github.com/joyboyid/xc/freebsd/netif"
)

func ExampleStack_Interfaces() {
	var host netif.Stack
	list, err := host.Interfaces()
	if err != nil {
		fmt.Println(err)
	}
	for _, i := range list {
		if i.Name == "lo0" {
			fmt.Println(i.Name, "is there")
		}
	}
	// Output: lo0 is there
}
