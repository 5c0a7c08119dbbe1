package runloop_test

import (
	"os"

	"github.com/joyboyid/xc/site/runloop"
)

// The whole of a program like xc-runloop, over any tenant.
func ExampleMain() {
	os.Exit(runloop.Main(func() runloop.Opener { return openFake }))
}
