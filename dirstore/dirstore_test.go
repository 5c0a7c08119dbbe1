package dirstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/dirstore"
)

// chain makes a chain id out of a number.
func chain(n int) string { return fmt.Sprintf("sha256:%064x", n+1) }

func open(t testing.TB, mode dirstore.Mode) (*dirstore.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "roots")
	s, err := dirstore.Open(dir, &dirstore.Options{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// commit makes a layer in which write has been at work.
func commit(t testing.TB, s *dirstore.Store, chain, parent string, write func(dir string)) {
	t.Helper()
	d, err := s.Begin(t.Context(), chain, parent)
	if err != nil {
		t.Fatal(err)
	}
	write(d.Dir())
	if err := d.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// empty fails unless the store has no drafts and no trash.
func empty(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"drafts", "trash"} {
		entries, err := os.ReadDir(filepath.Join(dir, name))
		if err != nil || len(entries) != 0 {
			t.Errorf("%s: %v, %v; want nothing", name, entries, err)
		}
	}
}

func TestTrees(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(d string) { write(t, d+"/etc/a", "base") })
	commit(t, s, chain(1), chain(0), func(d string) {
		if got := read(t, d+"/etc/a"); got != "base" {
			t.Errorf("a draft does not start as its parent: %q", got)
		}
		write(t, d+"/etc/a", "changed")
		write(t, d+"/etc/b", "new")
	})
	for id, want := range map[string]string{"c0": "base", "c1": "changed"} {
		if err := s.Create(ctx, id, chain(int(id[1]-'0'))); err != nil {
			t.Fatal(err)
		}
		l, err := s.Layout(id)
		if err != nil || l.Dir == "" || l.Base != "" {
			t.Fatalf("layout: %+v, %v", l, err)
		}
		if got := read(t, l.Dir+"/etc/a"); got != want {
			t.Errorf("root %s has %q, want %q", id, got, want)
		}
		write(t, l.Dir+"/etc/a", "written by the container")
	}
	if err := s.Create(ctx, "again", chain(0)); err != nil {
		t.Fatal(err)
	}
	l, _ := s.Layout("again")
	if got := read(t, l.Dir+"/etc/a"); got != "base" {
		t.Errorf("a container has written into the layer: %q", got)
	}
	roots, err := s.Roots()
	if err != nil || !reflect.DeepEqual(roots, []string{"again", "c0", "c1"}) {
		t.Errorf("roots: %v, %v", roots, err)
	}
	for range 2 {
		for _, id := range roots {
			if err := s.Remove(ctx, id); err != nil {
				t.Error(err)
			}
		}
	}
	if roots, _ := s.Roots(); len(roots) != 0 {
		t.Errorf("left: %v", roots)
	}
	empty(t, dir)
}

func TestLifeOfAChain(t *testing.T) {
	for _, mode := range []dirstore.Mode{dirstore.Overlay, dirstore.Copy} {
		t.Run(string(mode), func(t *testing.T) { lifeOfAChain(t, mode) })
	}
}

func lifeOfAChain(t *testing.T, mode dirstore.Mode) {
	ctx := t.Context()
	s, dir := open(t, mode)
	has := func(c string, want bool) {
		t.Helper()
		if got, err := s.Has(ctx, c); err != nil || got != want {
			t.Errorf("has %s: %v, %v; want %v", c, got, err, want)
		}
	}
	has(chain(0), false)
	if _, err := s.Begin(ctx, chain(1), chain(0)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("begin without its parent: %v", err)
	}
	d, err := s.Begin(ctx, chain(0), "")
	if err != nil {
		t.Fatal(err)
	}
	if d.Overlay() != (mode == dirstore.Overlay) {
		t.Errorf("overlay: %v", d.Overlay())
	}
	write(t, d.Dir()+"/f", "half")
	has(chain(0), false)
	if err := d.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(ctx); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("commit after abort: %v", err)
	}
	empty(t, dir)

	// A process that died has left a draft: the next one begins anew.
	if d, err = s.Begin(ctx, chain(0), ""); err != nil {
		t.Fatal(err)
	}
	write(t, d.Dir()+"/stale", "x")
	commit(t, s, chain(0), "", func(d string) {
		if entries, err := os.ReadDir(d); err != nil || len(entries) != 0 {
			t.Errorf("the draft before shows: %v, %v", entries, err)
		}
		if err := os.Chmod(d, 0o751); err != nil {
			t.Fatal(err)
		}
	})
	has(chain(0), true)
	if _, err := s.Begin(ctx, chain(0), ""); !errors.Is(err, fs.ErrExist) {
		t.Errorf("begin of a committed chain: %v", err)
	}
	d, err = s.Begin(ctx, chain(1), chain(0))
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(d.Dir()); err != nil || fi.Mode().Perm() != 0o751 {
		t.Errorf("the root directory of a draft has mode %v, %v; want its parent's 0751", fi.Mode(), err)
	}
	busy(t, s, chain(0), "being made")
	if err := d.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Abort(ctx); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	has(chain(1), true)
	busy(t, s, chain(0), chain(1))
	if err := s.Create(ctx, "root1", chain(1)); err != nil {
		t.Fatal(err)
	}
	busy(t, s, chain(1), "root1")
	list, err := s.List(ctx)
	if want := map[string]string{chain(0): "", chain(1): chain(0)}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("list: %v, %v; want %v", list, err, want)
	}
	if err := s.Remove(ctx, "root1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{chain(1), chain(1), chain(0)} {
		if err := s.Delete(ctx, c); err != nil {
			t.Error(err)
		}
	}
	has(chain(1), false)
	if list, err := s.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v; want nothing", list, err)
	}
	empty(t, dir)
}

func busy(t *testing.T, s *dirstore.Store, chain, why string) {
	t.Helper()
	if err := s.Delete(t.Context(), chain); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), why) {
		t.Errorf("delete %s: %v; want EBUSY and %q", chain, err, why)
	}
}

func TestCreate(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(d string) { write(t, d+"/f", "x") })
	if err := s.Create(ctx, "c", chain(7)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create from a missing chain: %v", err)
	}
	if err := s.Create(ctx, "c", chain(0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, "c", chain(0)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create twice: %v", err)
	}
	if _, err := s.Layout("d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("layout of a missing root: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Create(cancelled, "e", chain(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("create, cancelled: %v", err)
	}
	if _, err := s.Layout("e"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a root is there: %v", err)
	}
	empty(t, dir)
}

// Nothing that comes from outside becomes part of a path before it is checked.
func TestHostileNames(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(string) {})
	for _, c := range []string{
		"", "sha256:", "sha256:..", "../../etc", "sha256:" + strings.Repeat("A", 64), chain(0) + "0",
		"sha256:" + strings.Repeat("/", 64), "md5:" + strings.Repeat("0", 32), "sha512:" + strings.Repeat("0", 64),
	} {
		_, err1 := s.Has(ctx, c)
		_, err2 := s.Begin(ctx, c, "")
		for i, err := range []error{err1, err2, s.Delete(ctx, c), s.Create(ctx, "c", c)} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("chain %q, call %d: %v", c, i, err)
			}
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "../x", "a\x00", strings.Repeat("a", 65), ".a"} {
		_, err := s.Layout(id)
		for i, err := range []error{err, s.Create(ctx, id, chain(0)), s.Remove(ctx, id)} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("root %q, call %d: %v", id, i, err)
			}
		}
	}
	write(t, dir+"/roots/foreign/precious", "x")
	if err := s.Remove(ctx, "foreign"); err == nil {
		t.Error("a directory that is no root was removed")
	}
	read(t, dir+"/roots/foreign/precious")
}

func TestModeIsKept(t *testing.T) {
	_, dir := open(t, dirstore.Overlay)
	if s, err := dirstore.Open(dir, nil); err != nil || s.Mode() != dirstore.Overlay {
		t.Errorf("open again: %v", err)
	}
	if _, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy}); err == nil {
		t.Error("an overlay store was opened as copies")
	}
	write(t, dir+"/mode", "betterfs\n")
	if _, err := dirstore.Open(dir, nil); err == nil || !strings.Contains(err.Error(), "betterfs") {
		t.Errorf("open with an unknown mode: %v", err)
	}
}

func TestProbeLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	mode, err := dirstore.Probe(dir)
	if err != nil || !slices.Contains([]dirstore.Mode{dirstore.Overlay, dirstore.Reflink, dirstore.Copy}, mode) {
		t.Errorf("probe: %q, %v", mode, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if _, err := dirstore.Probe(dir + "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("probe of a missing directory: %v", err)
	}
}

func TestSweep(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(d string) { write(t, d+"/f", "x") })
	if _, err := s.Begin(ctx, chain(1), chain(0)); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/drafts/.c/d/f", "half a root")
	write(t, dir+"/trash/roots-c/d/f", "half removed")
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
	if ok, err := s.Has(ctx, chain(0)); !ok || err != nil {
		t.Errorf("the layer: %v, %v", ok, err)
	}
}

// A container that removes itself meets the sweep of an engine that begins.
func TestSweepBesideRemovals(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	for range 15 {
		for i := range 40 {
			write(t, fmt.Sprintf("%s/trash/roots-c/d%d/e/f", dir, i), "half removed")
		}
		swept := make(chan error)
		for range 4 {
			go func() { swept <- s.Sweep(ctx) }()
		}
		if err := errors.Join(<-swept, <-swept, <-swept, <-swept); err != nil {
			t.Fatal(err)
		}
		empty(t, dir)
	}
}

// A removal that was killed between its two halves is taken up by the next.
func TestRemoveIsRestartable(t *testing.T) {
	ctx := t.Context()
	s, dir := open(t, dirstore.Copy)
	commit(t, s, chain(0), "", func(d string) { write(t, d+"/f", "x") })
	write(t, dir+"/trash/roots-c/d/f", "half removed")
	write(t, dir+"/drafts/.c/d/f", "half made")
	if err := s.Create(ctx, "c", chain(0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
	write(t, dir+"/trash/roots-c/d/f", "half removed")
	if err := s.Remove(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
}

// Layers of 127 layers fit the page that mount(2) takes.
func TestMountDataOf127Layers(t *testing.T) {
	s, _ := open(t, dirstore.Overlay)
	parent := ""
	for i := range 127 {
		commit(t, s, chain(i), parent, func(string) {})
		parent = chain(i)
	}
	if err := s.Create(t.Context(), "c4f7kq2mznpa", parent); err != nil {
		t.Fatal(err)
	}
	l, err := s.Layout("c4f7kq2mznpa")
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Lower) != 127 || len(l.MountData()) > 4095 {
		t.Errorf("%d layers, %d bytes", len(l.Lower), len(l.MountData()))
	}
	for _, name := range append(l.Lower, l.Upper, l.Work) {
		if fi, err := os.Stat(filepath.Join(l.Base, name)); err != nil || !fi.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
