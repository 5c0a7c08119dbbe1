package engine

import (
	"os"

	"github.com/joyboyid/xc/host/tenant"
	"github.com/joyboyid/xc/ocitar/confine"
	"github.com/joyboyid/xc/site/proxy"
	"github.com/joyboyid/xc/site/runloop"
)

// Names of the helper programs.
const (
	runLoopName = "xc-runloop"
	ocitarName  = "ocitar"
)

// An executable that stands in for a helper is told so by its first argument,
// the helper's name after this sign. It cannot be argv[0]: on FreeBSD package
// syscall replaces an argv[0] that is longer than the path (exec_unix.go).
const asHelper = "@"

// selfContained is set by Main: this executable can stand in for the helpers.
// It is written before main does anything else and only read afterwards.
var selfContained bool

// Main lets one executable be the engine and its helper programs, the run
// loop and the layer codec. Call it first in main: in a process that was
// started as a helper it does the helper's work and exits; in any other it
// returns at once, and an engine opened afterwards without Config.RunLoop and
// Config.Ocitar starts this executable as its helpers.
func Main() {
	if tenant.Main() || proxy.Main() {
		return // not reached: they exit
	}
	selfContained = true
	if len(os.Args) < 2 {
		return
	}
	switch os.Args[1] {
	case asHelper + runLoopName:
		os.Exit(runloop.Main(tenant.Prepare))
	case asHelper + ocitarName:
		os.Exit(confine.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
}
