package engine

import (
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/ocitar/confine"
	"github.com/joyboyid/xc/site/runloop"
)

// Names of the helper programs, in argv[0].
const (
	runLoopName = "xc-runloop"
	ocitarName  = "ocitar"
)

// selfContained is set by Main: this executable can stand in for the helpers.
// It is written before main does anything else and only read afterwards.
var selfContained bool

// Main lets one executable be the engine and its helper programs, the run
// loop and the layer codec. Call it first in main: in a process that was
// started as a helper it does the helper's work and exits; in any other it
// returns at once, and an engine opened afterwards without Config.RunLoop and
// Config.Ocitar starts this executable as its helpers.
func Main() {
	if tenant.Main() {
		return // not reached: the stub exits
	}
	switch filepath.Base(os.Args[0]) {
	case runLoopName:
		os.Exit(runloop.Main(tenant.Open))
	case ocitarName:
		os.Exit(confine.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	selfContained = true
}
