package sitetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
)

// Fake is a host without an operating system. What is done to it is written
// down as the script that an operator of FreeBSD would have typed; its roots are
// directories, its processes functions of this program.
type Fake struct {
	base string // directory of the roots
	tag  string

	mu     sync.Mutex
	script []string
	last   int
	there  map[string]map[string]bool // what exists, by kind and name
	loops  map[string]*fakeLoop       // by id, also of those that have ended
	exits  map[string]control.Exit
}

var _ Host = (*Fake)(nil)

// NewFake returns a fake with its roots in dir.
func NewFake(dir string) (*Fake, error) {
	f := &Fake{base: dir, tag: "t3qk5z", there: map[string]map[string]bool{}, loops: map[string]*fakeLoop{}, exits: map[string]control.Exit{}}
	return f, furnish(filepath.Join(dir, "image"))
}

// String is the script so far.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.script, "\n") + "\n"
}

// Names on the host.
func (f *Fake) dataset(id string) string { return "tank/containers/" + f.tag + "-" + id }
func (f *Fake) jail(id string) string    { return "xc-" + f.tag + "-" + id }
func (f *Fake) mnt(id string) string     { return "/var/db/xc/mnt/" + id }
func (f *Fake) siteDir(id string) string { return "/var/db/xc/sites/" + id }
func (f *Fake) root(id string) string    { return filepath.Join(f.base, id) }

// NewID implements [Host].
func (f *Fake) NewID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	return fmt.Sprintf("c%d", f.last)
}

// Kinds of undos of the fake.
const (
	fakeDir   = "dir"
	fakeRoot  = "root"
	fakeMount = "mount"
	fakeJail  = "jail"
	fakeRun   = "runloop"
)

// fakeThing is the data of an undo.
type fakeThing struct{ ID, Name string }

// make notes that something is there now.
func (f *Fake) make(kind, name, line string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.there[kind][name] {
		return fmt.Errorf("%s: %w", line, fs.ErrExist)
	}
	if f.there[kind] == nil {
		f.there[kind] = map[string]bool{}
	}
	f.there[kind][name] = true
	f.script = append(f.script, line)
	return nil
}

// unmake notes that something is gone, if it was there.
func (f *Fake) unmake(kind, name, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.there[kind][name] {
		delete(f.there[kind], name)
		f.script = append(f.script, line)
	}
}

func (f *Fake) step(kind, id, name, line string, do func() error) site.Step {
	b, err := json.Marshal(fakeThing{id, name})
	if err != nil {
		panic(err) // two strings
	}
	return site.Step{Undo: site.Undo{Kind: kind, Version: 1, Data: b}, Do: func(context.Context) error {
		err := f.make(kind, name, line)
		if err == nil && do != nil {
			err = do()
		}
		return err
	}}
}

// Table implements [Host].
func (f *Fake) Table() site.Table {
	return site.Table{
		fakeDir:   f.undo(f.siteDir, func(t fakeThing) string { return "rm -r " + t.Name }, nil),
		fakeRoot:  f.undo(f.dataset, func(t fakeThing) string { return "zfs destroy " + t.Name }, func(t fakeThing) error { return os.RemoveAll(f.root(t.ID)) }),
		fakeMount: f.undo(f.mnt, func(t fakeThing) string { return "umount " + t.Name }, nil),
		fakeJail:  f.undo(f.jail, func(t fakeThing) string { return "jail -r " + t.Name }, nil),
		fakeRun:   f.undo(f.jail, nil, f.endLoop),
	}
}

// undo makes an entry of the table: ours are things whose names begin as those
// of the id do.
func (f *Fake) undo(ours func(id string) string, line func(fakeThing) string, do func(fakeThing) error) func(context.Context, site.Undo) error {
	return func(_ context.Context, u site.Undo) error {
		if u.Version != 1 {
			return fmt.Errorf("undo %s of version %d: %w", u.Kind, u.Version, site.ErrUnknownKind)
		}
		var t fakeThing
		if err := json.Unmarshal(u.Data, &t); err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(t.Name, ours(t.ID)); !ok || rest != "" && rest[0] != '/' || t.ID == "" {
			return fmt.Errorf("undo %s %s: it is not ours: %w", u.Kind, t.Name, fs.ErrPermission)
		}
		if do != nil {
			if err := do(t); err != nil {
				return err
			}
		}
		if line != nil {
			f.unmake(u.Kind, t.Name, line(t))
		}
		return nil
	}
}

// Hold implements [Host].
func (f *Fake) Hold(c Container) []site.Step {
	return []site.Step{
		f.step(fakeDir, c.ID, f.siteDir(c.ID), "mkdir "+f.siteDir(c.ID), nil),
		f.step(fakeRoot, c.ID, f.dataset(c.ID), "zfs clone tank/images/"+f.tag+"-sitetest@frozen "+f.dataset(c.ID), func() error {
			return os.CopyFS(f.root(c.ID), os.DirFS(filepath.Join(f.base, "image")))
		}),
	}
}

// Run implements [Host].
func (f *Fake) Run(c Container) ([]site.Step, Loop, error) {
	mnt := f.mnt(c.ID)
	ro := map[bool]string{true: "-o ro "}
	steps := []site.Step{
		f.step(fakeMount, c.ID, mnt, "mount -t zfs "+ro[c.ReadOnly]+f.dataset(c.ID)+" "+mnt, nil),
		f.step(fakeMount, c.ID, mnt+"/dev", "mount -t devfs -o ruleset=1000 devfs "+mnt+"/dev", nil),
	}
	for _, m := range c.Mounts {
		steps = append(steps, f.step(fakeMount, c.ID, mnt+m.Destination, "mount -t nullfs "+ro[m.ReadOnly]+m.Source+" "+mnt+m.Destination,
			func() error { return f.checkMount(c, m) }))
	}
	network := map[string]string{"none": "vnet=new", "host": "ip4=inherit ip6=inherit"}[c.Network]
	line := fmt.Sprintf("jail -c name=%s path=%s host.hostname=%s persist enforce_statfs=2 allow.noset_hostname %s", f.jail(c.ID), mnt, c.Hostname, network)
	l := &fakeConn{}
	steps = append(steps,
		f.step(fakeJail, c.ID, f.jail(c.ID), line, nil),
		f.step(fakeRun, c.ID, f.jail(c.ID), "daemon xc-runloop "+c.ID, func() error {
			l.loop = newFakeLoop(f, c)
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.exits, c.ID)
			f.loops[c.ID] = l.loop
			return nil
		}))
	return steps, l, nil
}

// checkMount compares a source with what was opened, and refuses what a fake
// has no kernel for.
func (f *Fake) checkMount(c Container, m Mount) error {
	now, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	opened, err := m.File.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, opened) {
		return fmt.Errorf("mount %s: the source is not the file that was opened: %w", m.Source, fs.ErrPermission)
	}
	for dir := m.Destination; dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Lstat(filepath.Join(f.root(c.ID), dir)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("mount %s: a place behind a link: %w", m.Destination, errors.ErrUnsupported)
		}
	}
	return nil
}

// endLoop ends a run loop and what it runs.
func (f *Fake) endLoop(t fakeThing) error {
	f.mu.Lock()
	l := f.loops[t.ID]
	delete(f.loops, t.ID)
	f.mu.Unlock()
	if l == nil {
		return nil
	}
	defer f.unmake(fakeRun, t.Name, "pkill -f 'xc-runloop "+t.ID+"'")
	return l.Abandon(context.Background())
}

// Dial implements [Host].
func (f *Fake) Dial(_ context.Context, id string) (Loop, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.loops[id]
	if l == nil || l.over() {
		return nil, fmt.Errorf("dial run loop of %s: %w", id, fs.ErrNotExist)
	}
	return &fakeConn{loop: l}, nil
}

// Exit implements [Host].
func (f *Fake) Exit(id string) (control.Exit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	exit, ok := f.exits[id]
	if !ok {
		return exit, fmt.Errorf("exit record of %s: %w", id, fs.ErrNotExist)
	}
	return exit, nil
}

// Left implements [Host].
func (f *Fake) Left(known ...string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for kind, names := range f.there {
		for name := range names {
			id := name
			for _, prefix := range []string{f.siteDir(""), f.dataset(""), f.mnt(""), f.jail("")} {
				id = strings.TrimPrefix(id, prefix)
			}
			if id, _, _ = strings.Cut(id, "/"); !slices.Contains(known, id) {
				left = append(left, kind+" "+name)
			}
		}
	}
	slices.Sort(left)
	return left, nil
}

// Foreign implements [Host].
func (f *Fake) Foreign(*testing.T) ([]site.Undo, func() error) {
	names := map[string]string{fakeRoot: "tank/containers/other-c1", fakeJail: "www", fakeMount: "/home", fakeDir: "/etc"}
	var undos []site.Undo
	for kind, name := range names {
		undos = append(undos, f.step(kind, "c1", name, "", nil).Undo)
	}
	before := f.String()
	return undos, func() error {
		if f.String() != before {
			return fmt.Errorf("the script has changed: %s", f)
		}
		return nil
	}
}
