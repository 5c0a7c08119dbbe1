package sitetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

var rootPromises = []Promise{
	{"root-from-image", "a root begins as what the layers of its image say", func(h *harness) {
		h.wants(h.run(Container{}, "read", "/etc/motd"), 0, motd)
	}},
	{"root-apart", "what a container writes into its root is seen by no other container, nor in the image", func(h *harness) {
		a, b := h.hold(Container{}).up(), h.hold(Container{}).up()
		h.wants(a.start(command("write", "/etc/motd", "changed"), nil).wait(), 0, "")
		h.wants(b.start(command("read", "/etc/motd"), nil).wait(), 0, motd)
		h.wants(h.run(Container{}, "read", "/etc/motd"), 0, motd)
	}},
	{"root-kept", "when a container starts again, its root is as it was left", func(h *harness) {
		b := h.hold(Container{})
		h.wants(b.up().start(command("write", "/etc/new", "kept"), nil).wait(), 0, "")
		b.down()
		h.wants(b.up().start(command("read", "/etc/new"), nil).wait(), 0, "kept")
		b.down()
	}},
	{"root-read-only", "nothing can be written into a read-only root, and what was there can be read", func(h *harness) {
		b := h.hold(Container{ReadOnly: true}).up()
		r := b.start(command("write", "/etc/new", "x"), nil).wait()
		h.check(r.exit.Code != 0 && strings.Contains(r.err, "read-only"), "writing: %+v", r)
		b.down()
		h.wants(b.up().start(command("read", "/etc/motd"), nil).wait(), 0, motd)
	}},
	{"root-removed", "when a container is removed nothing of it is on the host", func(h *harness) {
		b := h.hold(Container{}).up()
		h.wants(b.start(command("write", "/etc/new", "x"), nil).wait(), 0, "")
		b.down()
		h.must(b.site.Held.Unwind(h.Context()))
		h.nothingLeft()
	}},
}

var volumePromises = []Promise{
	{"volume", "what is written through a volume is in the host's directory, and the other way round", func(h *harness) {
		src := h.dir()
		h.must(os.WriteFile(filepath.Join(src, "theirs"), []byte("host"), 0o644))
		c := Container{Mounts: []Mount{h.mount(src, "/srv/data", false)}}
		h.wants(h.run(c, "read", "/srv/data/theirs"), 0, "host")
		c.Mounts[0] = h.mount(src, "/srv/data", false)
		h.wants(h.run(c, "write", "/srv/data/ours", "container"), 0, "")
		b, err := os.ReadFile(filepath.Join(src, "ours"))
		h.check(err == nil && string(b) == "container", "on the host: %q, %v", b, err)
	}},
	{"volume-file", "a single file can be a volume", func(h *harness) {
		src := filepath.Join(h.dir(), "motd")
		h.must(os.WriteFile(src, []byte("mine"), 0o644))
		h.wants(h.run(Container{Mounts: []Mount{h.mount(src, "/etc/motd", false)}}, "read", "/etc/motd"), 0, "mine")
	}},
	{"volume-read-only", "nothing can be written through a read-only volume, also where the root can be written to", func(h *harness) {
		src := h.dir()
		r := h.run(Container{Mounts: []Mount{h.mount(src, "/srv", true)}}, "write", "/srv/x", "x")
		h.check(r.exit.Code != 0 && strings.Contains(r.err, "read-only"), "writing: %+v", r)
		entries, err := os.ReadDir(src)
		h.check(err == nil && len(entries) == 0, "on the host: %v, %v", entries, err)
	}},
	{"volume-in-read-only-root", "a volume can be written to in a read-only root", func(h *harness) {
		src := h.dir()
		h.wants(h.run(Container{ReadOnly: true, Mounts: []Mount{h.mount(src, "/srv/new", false)}}, "write", "/srv/new/x", "x"), 0, "")
		_, err := os.Stat(filepath.Join(src, "x"))
		h.must(err)
	}},
	{"volume-very-file", "a volume is the directory that was opened or none, whatever its name leads to by now", func(h *harness) {
		base := h.dir()
		src, moved := filepath.Join(base, "src"), filepath.Join(base, "moved")
		h.must(os.Mkdir(src, 0o755))
		h.must(os.WriteFile(filepath.Join(src, "f"), []byte("opened"), 0o644))
		m := h.mount(src, "/srv", false)
		h.must(os.Rename(src, moved))
		h.must(os.Mkdir(src, 0o755))
		h.must(os.WriteFile(filepath.Join(src, "f"), []byte("impostor"), 0o644))
		b := h.hold(Container{Mounts: []Mount{m}})
		if err := b.tryUp(); err != nil {
			h.check(!errors.Is(err, errors.ErrUnsupported), "a refusal: %v", err)
			return
		}
		h.wants(b.start(command("read", "/srv/f"), nil).wait(), 0, "opened")
	}},
	{"volume-stays-inside", "a volume whose place in the root is behind links lands inside the root, and nowhere on the host", func(h *harness) {
		src := h.dir()
		h.must(os.WriteFile(filepath.Join(src, "f"), []byte("inside"), 0o644))
		name := fmt.Sprintf("xc-outside-%d", os.Getpid())
		h.wants(h.run(Container{Mounts: []Mount{h.mount(src, "/out/"+name, false)}}, "read", "/tmp/"+name+"/f"), 0, "inside")
		_, err := os.Lstat("/tmp/" + name)
		h.check(errors.Is(err, fs.ErrNotExist), "outside: %v", err)
	}},
}

// dir is a directory of the host, with its real name.
func (h *harness) dir() string {
	dir, err := filepath.EvalSymlinks(h.TempDir())
	h.must(err)
	return dir
}

// mount opens a source, as engines do before they let anything run.
func (h *harness) mount(src, dst string, readOnly bool) Mount {
	h.Helper()
	f, err := os.OpenFile(src, syscall.O_CLOEXEC|openPath, 0)
	h.must(err)
	h.Cleanup(func() { f.Close() })
	return Mount{Source: src, Destination: dst, ReadOnly: readOnly, File: f}
}
