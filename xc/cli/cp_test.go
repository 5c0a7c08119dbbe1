package cli_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	ocitar "github.com/joyboyid/xc/ocitar/cli"
)

// The test binary is the program ocitar as well, under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ocitar" {
		os.Exit(ocitar.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// withOcitar puts the program into PATH.
func withOcitar(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "ocitar")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

// tree lists what is in a directory: PATH=CONTENT, PATH/, PATH->TARGET.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		switch {
		case d.IsDir():
			name += "/"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			name += "->" + target
		default:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			name += "=" + string(b)
		}
		list = append(list, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// plant makes files: those of tree.
func plant(t *testing.T, dir, files string) {
	t.Helper()
	for _, f := range strings.Fields(files) {
		var err error
		if name, target, ok := strings.Cut(f, "->"); ok {
			err = os.Symlink(target, filepath.Join(dir, name))
		} else if name, content, ok := strings.Cut(f, "="); ok {
			err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
		} else {
			err = os.MkdirAll(filepath.Join(dir, f), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The rules of docker cp about what is at the destination and slashes at the end
// hold in each direction.
func TestCpRules(t *testing.T) {
	withOcitar(t)
	const src, dst = "f=1 d/ d/a=2 d/s/ d/s/b=3 l->f m->d", "file=9 dir/ dir/old=8"
	for _, tc := range []struct {
		args, want, errout string // want: what is new or changed at the destination
	}{
		{"f new", "new=1", ""}, {"f new/", "", "new/: the directory does not exist"}, {"f no/new", "", "no such file"},
		{"f file", "file=1", ""}, {"f dir", "dir/f=1", ""}, {"f dir/", "dir/f=1", ""}, {"f .", "f=1", ""}, {"f dir/old", "dir/old=1", ""},
		{"f/ new", "", "not a directory"}, {"f file/", "", "not a directory"}, {"nosuch new", "", "no such file"}, {"f/. new", "", "irectory"},
		{"d new", "new/ new/a=2 new/s/ new/s/b=3", ""}, {"d new/", "new/ new/a=2 new/s/ new/s/b=3", ""},
		{"d file", "", "file is a file, and "}, {"d dir", "dir/d/ dir/d/a=2 dir/d/s/ dir/d/s/b=3", ""},
		{"d/ dir", "dir/d/ dir/d/a=2 dir/d/s/ dir/d/s/b=3", ""}, {"d/. dir", "dir/a=2 dir/s/ dir/s/b=3", ""},
		{"d/. new", "new/ new/a=2 new/s/ new/s/b=3", ""}, {"d/s/.. dir/", "dir/d/ dir/d/a=2 dir/d/s/ dir/d/s/b=3", ""},
		{"l new", "new->f", ""}, {"-L l new", "new=1", ""}, {"-L m dir", "dir/m/ dir/m/a=2 dir/m/s/ dir/m/s/b=3", ""}, {"m dir", "dir/m->d", ""},
	} {
		for _, way := range []string{"in", "out"} {
			t.Run(way+" "+tc.args, func(t *testing.T) {
				f := newFake(t)
				from, to := t.TempDir(), t.TempDir()
				plant(t, from, src)
				plant(t, to, dst)
				before := tree(t, to)
				var args []string
				words := strings.Fields(tc.args)
				if words[0] == "-L" {
					args, words = words[:1], words[1:]
				}
				if way == "in" {
					f.root = to
					args = append(args, from+"/"+words[0], "c:"+words[1])
				} else {
					f.root = from
					args = append(args, "c:/"+words[0], to+"/"+words[1])
				}
				r := f.xc(t, append([]string{"cp"}, args...)...)
				if tc.errout != "" {
					if r.code != 125 || !strings.Contains(r.errout, tc.errout) && !strings.Contains(r.errout, "xc: ") || strings.Count(r.errout, "\n") != 1 || tree(t, to) != before {
						t.Errorf("%+v: %s", r, tree(t, to))
					}
					return
				}
				have, want := strings.Fields(before), strings.Fields(tc.want)
				have = slices.DeleteFunc(have, func(old string) bool {
					name, _, _ := strings.Cut(old, "=")
					return slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, name+"=") })
				})
				want = slices.Concat(have, want)
				slices.Sort(want)
				if got := tree(t, to); r.code != 0 || got != strings.Join(want, " ") {
					t.Errorf("%+v\ngot  %s\nwant %s", r, got, want)
				}
			})
		}
	}
}

func TestCpStreams(t *testing.T) {
	withOcitar(t)
	f := newFake(t)
	f.root = t.TempDir()
	plant(t, f.root, "d/ d/a=1 in/")
	r := f.xc(t, "cp", "c:/d", "-")
	if r.code != 0 || !strings.Contains(r.out, "d/a") {
		t.Fatalf("%d, %q, %d bytes", r.code, r.errout, len(r.out))
	}
	a, done := f.app(t, r.out)
	if r := done(a.Run(t.Context(), []string{"cp", "-a", "-", "c:in"})); r.code != 0 || r.errout != "xc: warning: a note\n" || !f.noted("owners true") {
		t.Errorf("%+v", r)
	}
	// From one container to another.
	if r := f.xc(t, "cp", "c:/d/a", "other:/b"); r.code != 0 || !f.noted("owners false") {
		t.Errorf("%+v", r)
	}
	if got := tree(t, f.root); got != "b=1 d/ d/a=1 in/ in/d/ in/d/a=1" {
		t.Errorf("got %s", got)
	}
	// To standard output from here.
	dir := t.TempDir()
	plant(t, dir, "x=1 with:colon=2")
	for _, tc := range []struct{ args, errout string }{
		{"a b", "neither is in a container"}, {"c: b", "a path is missing"}, {"- -", "neither"},
		{fmt.Sprintf("%s/with:colon c:/in/y", dir), ""}, {"c:/in/y " + dir, ""},
	} {
		r := f.xc(t, append([]string{"cp"}, strings.Fields(tc.args)...)...)
		if (tc.errout == "") != (r.code == 0) || !strings.Contains(r.errout, tc.errout) {
			t.Errorf("%s: %+v", tc.args, r)
		}
	}
	if b, err := os.ReadFile(dir + "/y"); err != nil || string(b) != "2" {
		t.Errorf("%q, %v", b, err)
	}
}

// What is packed and unpacked here is told by another program: its notes, why it failed
// and that it is not there.
func TestCpTellsWhatOcitarSays(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f, dir := newFake(t), t.TempDir()
	f.root = t.TempDir()
	plant(t, dir, "d/ d/f=1 clash=2")
	plant(t, f.root, "clash/ d/ d/f=3")
	for _, args := range [][]string{{"cp", dir + "/d", "c:/new"}, {"cp", "c:/d", dir + "/new"}} {
		if r := f.xc(t, args...); r.code != 125 || !strings.Contains(r.errout, "the program ocitar, which packs and unpacks files here, is neither beside xc in ") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	withOcitar(t)
	if err := unix.Mkfifo(filepath.Join(dir, "d/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "d/sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "d/f"), old, old); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "0")
	r := f.xc(t, "cp", dir+"/d", "c:/new")
	if r.code != 0 || !strings.HasPrefix(r.errout, "xc: warning: new/sock: ") || strings.Count(r.errout, "\n") != 2 { // the other is the fake's
		t.Errorf("%+v", r)
	}
	if fi, err := os.Stat(filepath.Join(f.root, "new/f")); err != nil || !fi.ModTime().Equal(old) {
		t.Errorf("%v, %v", fi, err)
	}
	// The fake packs the directory under the name of a file.
	if err := os.Mkdir(filepath.Join(dir, "to"), 0o755); err != nil {
		t.Fatal(err)
	}
	plant(t, dir, "to/d=4")
	r = f.xc(t, "cp", "c:/d", dir+"/to")
	if r.code != 125 || !strings.HasPrefix(r.errout, "xc: "+dir+"/to: ") || strings.Contains(r.errout, "ocitar") || strings.Count(r.errout, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}
