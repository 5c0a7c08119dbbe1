// The run loop chooses GOMAXPROCS itself: the runtime need not keep the files of
// cgroup limits open.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command xc-runloop is the process that each running container has to
// itself, and the one that serves its published ports to this host. The engine
// starts it, with descriptors that packages site/runloop and site/proxy describe;
// there is nothing to call it by hand for.
package main

import (
	"os"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/site/proxy"
	"github.com/joyboyid/xc/site/runloop"
)

func main() {
	if tenant.Main() || proxy.Main() { // on Linux this program is also pid 1 of the container
		return
	}
	os.Exit(runloop.Main(tenant.Prepare))
}
