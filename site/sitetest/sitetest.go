// Package sitetest is what every host must pass: a table of named promises
// about roots, volumes, processes, isolation, and giving back, each kept in a
// test of its own. docs/conformance.md lists them.
//
// A host is put under test by an adapter of a few lines, in a test:
//
//	func TestMain(m *testing.M) {
//		sitetest.Main() // this executable is also the program in the containers
//		os.Exit(m.Run())
//	}
//
//	func TestConformance(t *testing.T) {
//		sitetest.Run(t, func(t *testing.T) sitetest.Host { return adapter(t) })
//	}
//
// A promise is skipped only where the host answers [errors.ErrUnsupported];
// everything else is a failure. [Fake] is a host without an operating system:
// it writes the script that an operator would have typed.
package sitetest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
)

// Host is a host under test. The roots of its containers begin as what
// [Furnish] writes.
type Host interface {
	// NewID returns an id for a container.
	NewID() string
	// Table carries out the undos of the steps below.
	Table() site.Table
	// Hold returns the steps for what a stopped container keeps.
	Hold(c Container) []site.Step
	// Run returns the steps for what a running one has. Once they are done, loop
	// is a connection to its run loop.
	Run(c Container) (steps []site.Step, loop Loop, err error)
	// Dial makes another connection to a run loop. The error matches
	// fs.ErrNotExist or ECONNREFUSED when it is gone.
	Dial(ctx context.Context, id string) (Loop, error)
	// Exit reads the exit record in a container's directory.
	Exit(id string) (control.Exit, error)
	// Left lists what is on the host of containers whose ids are not given.
	Left(known ...string) ([]string, error)
	// Foreign makes things that belong to somebody else and returns undos that
	// name them, made up by an enemy, and how to tell that they are intact.
	Foreign(t *testing.T) (undos []site.Undo, intact func() error)
}

// Loop is a connection to a run loop.
type Loop interface {
	Control() control.Control
	// Close ends the connection, as the death of an engine does.
	Close()
}

// Container is what a host is asked for.
type Container struct {
	ID       string
	Hostname string
	Network  string // "none" or "host"
	ReadOnly bool   // the root
	Mounts   []Mount
}

// Mount binds a file or directory of the host into the root.
type Mount struct {
	Source, Destination string
	ReadOnly            bool
	File                *os.File // Source, opened
}

// Promise is a row of the table.
type Promise struct {
	Name string // of its test
	Text string // what is promised

	keep func(h *harness)
}

// Promises returns the table.
func Promises() []Promise {
	var list []Promise
	for _, part := range [][]Promise{rootPromises, volumePromises, processPromises, streamPromises, commandPromises, endPromises, isolationPromises, undoPromises} {
		list = append(list, part...)
	}
	return list
}

// Run holds a host to every promise. Open is called for each anew.
func Run(t *testing.T, open func(t *testing.T) Host) {
	for _, p := range Promises() {
		t.Run(p.Name, func(t *testing.T) {
			h := &harness{T: t, host: open(t), journal: &site.MemoryJournal{}}
			p.keep(h)
		})
	}
}

// harness is what a promise is kept with.
type harness struct {
	*testing.T
	host    Host
	journal *site.MemoryJournal
}

// must ends the test when err is not nil: as skipped where the host says that it
// cannot do this at all.
func (h *harness) must(err error) {
	h.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		h.Skipf("unsupported here: %v", err)
	}
	if err != nil {
		h.Fatal(err)
	}
}

// check reports what is not as promised.
func (h *harness) check(ok bool, format string, args ...any) {
	h.Helper()
	if !ok {
		h.Errorf(format, args...)
	}
}

// nothingLeft fails when there is something on the host of containers whose
// ids are not given. A run loop that has answered its last call is given the
// time to be gone.
func (h *harness) nothingLeft(known ...string) {
	h.Helper()
	var left []string
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var err error
		left, err = h.host.Left(known...)
		h.must(err)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			h.Errorf("left on the host: %q", left)
			return
		}
	}
}

// site is the site of a container, as any engine with the same journal has it.
func (h *harness) site(id string) *site.Site { return site.New(id, h.journal, h.host.Table()) }

// complete fills in what a promise does not care for.
func (h *harness) complete(c Container) Container {
	if c.ID == "" {
		c.ID = h.host.NewID()
	}
	if c.Hostname == "" {
		c.Hostname = c.ID
	}
	if c.Network == "" {
		c.Network = "none"
	}
	return c
}
