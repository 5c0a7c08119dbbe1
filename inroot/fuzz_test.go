package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// model is a file system in memory, resolved by the rules of path_resolution(7)
// with the root as "/": written to be obviously right, not fast.
type model map[string]string // path to "dir", "file" or "-> target"

func (m model) look(name string) (string, bool) {
	todo, at, links := strings.Split(name, "/"), "", 0
	if name == "" {
		return "", false
	}
	for i := 0; i < len(todo); i++ {
		if m[at] != "dir" {
			return "", false
		}
		switch todo[i] {
		case "", ".":
			continue
		case "..":
			at = at[:max(strings.LastIndex(at, "/"), 0)]
			continue
		}
		next := at + "/" + todo[i]
		target, link := strings.CutPrefix(m[next], "-> ")
		switch {
		case m[next] == "":
			return "", false
		case link:
			if links++; links > MaxLinks {
				return "", false
			}
			if strings.HasPrefix(target, "/") {
				at = ""
			}
			todo, i = append(strings.Split(target, "/"), todo[i+1:]...), -1
		default:
			at = next
		}
	}
	if at == "" {
		at = "/"
	}
	return at, true
}

// FuzzResolve compares every resolution in a random tree with the model's, and
// with what a real chroot would see: the sentinel beside the root is never met.
func FuzzResolve(f *testing.F) {
	f.Add("d/\nd/l -> ..\nf", "d/l/f")
	f.Add("usr/\nusr/lib/\nlib -> usr/lib\nusr/lib/x", "lib/x")
	f.Add("a -> /b\nb -> ../../c\nc/\nc/f", "a/f")
	f.Add("l -> l", "l/../l")
	f.Add("l -> ../sentinel", "l")
	f.Add("d/\nd/d/\nd/d/l -> ../../../../sentinel\ns -> /..", "s/d/d/l/../.")
	f.Fuzz(func(t *testing.T, tree, name string) {
		if len(tree) > 400 || len(name) > 200 {
			return
		}
		top := t.TempDir()
		root := filepath.Join(top, "r")
		for _, err := range []error{os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(top, "sentinel"), []byte("s"), 0o600)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		m := grow(root, tree)
		r, err := Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		want, ok := m.look(name)
		got, err := r.Look(name)
		if ok != (err == nil) || got != want {
			t.Fatalf("Look(%q) = %q, %v; the model says %q, %v; tree %q", name, got, err, want, ok, m)
		}
		var a, b unix.Stat_t
		a, serr := r.Stat(name)
		if (serr == nil) != ok {
			t.Fatalf("Stat(%q): %v; Look: %v", name, serr, err)
		}
		if ok {
			if err := unix.Lstat(filepath.Join(root, got), &b); err != nil || a.Ino != b.Ino {
				t.Fatalf("Stat(%q) is not %s: %v", name, got, err)
			}
		}
		if err := r.MkdirAll(name, 0o755); err == nil {
			if _, err := r.Look(name); err != nil && name != "" {
				t.Fatalf("after MkdirAll(%q): %v", name, err)
			}
		}
		_ = r.Remove(name) // whatever it says, it stays inside
		if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
			t.Fatalf("beside the root: %v, %v", left, err)
		}
	})
}

// grow plants what can be planted of tree and returns its model.
func grow(root, tree string) model {
	m := model{"": "dir"}
	for spec := range strings.SplitSeq(tree, "\n") {
		name, target, link := strings.Cut(spec, " -> ")
		dir := strings.HasSuffix(name, "/")
		name = strings.TrimSuffix(name, "/")
		parent := name[:max(strings.LastIndex(name, "/"), 0)]
		if name != "" && parent != "" {
			parent = "/" + parent
		}
		if name == "" || m[parent] != "dir" || m["/"+name] != "" || filepath.Clean("/"+name) != "/"+name {
			continue
		}
		p, kind := filepath.Join(root, name), "file"
		var err error
		switch {
		case link:
			kind, err = "-> "+target, os.Symlink(target, p)
		case dir:
			kind, err = "dir", os.Mkdir(p, 0o755)
		default:
			err = os.WriteFile(p, nil, 0o600)
		}
		if err == nil {
			m["/"+name] = kind
		} else if errors.Is(err, os.ErrExist) {
			panic(err) // the model would be wrong
		}
	}
	return m
}
