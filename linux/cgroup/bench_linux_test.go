package cgroup

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkGroup tells what a list of devices adds to making and removing a group.
func BenchmarkGroup(b *testing.B) {
	base, err := Find()
	if err != nil {
		b.Skip(err)
	}
	f, err := Devices{{Major: 1, Minor: 3}, {Major: 136, Minor: AnyMinor}}.Load()
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	for name, attach := range map[string]bool{"bare": false, "devices": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				g, err := Make(filepath.Join(base, "xctest-bench"))
				if err != nil {
					b.Fatal(err)
				}
				if attach {
					err = f.Attach(g)
				}
				if err = errors.Join(err, g.Close(), unix.Rmdir(g.path)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
