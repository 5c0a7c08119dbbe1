package engine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// archive writes a tar archive to a file.
func archive(t *testing.T, headers ...tar.Header) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "tar"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := tar.NewWriter(f)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// copied lists what is copied from a container: NAME MODE UID CONTENT.
func copied(t *testing.T, e api.Engine, name string, opt api.CopyFrom) ([]string, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	opt.Archive = f
	if _, err := e.CopyFromContainer(t.Context(), name, opt); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Uid)
		if h.Typeflag == tar.TypeSymlink {
			line = h.Name + " -> " + h.Linkname
		}
		if len(content) > 0 {
			line += " " + string(content)
		}
		list = append(list, line)
	}
}

func TestIntegrationCopy(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	host := t.TempDir()
	spec := api.ContainerSpec{Image: "root", Command: []string{"sh", "-c", "ln -s /tmp /abs; echo up; sleep 1000"}, Mounts: []api.Mount{{Source: host, Destination: "/mnt"}}}
	for _, state := range []string{"running", "stopped", "created"} {
		t.Run(state, func(t *testing.T) {
			spec.Name = state
			if _, err := e.CreateContainer(ctx, spec); err != nil {
				t.Fatal(err)
			}
			if state != "created" {
				if err := e.StartContainer(ctx, state, api.StartOptions{}); err != nil {
					t.Fatal(err)
				}
				waitLog(t, e, state, "up\n")
			}
			if now := 0; state == "stopped" {
				if err := e.StopContainer(ctx, state, api.StopOptions{Timeout: &now}); err != nil {
					t.Fatal(err)
				}
			}
			into := "/abs"
			if state == "created" {
				into = "tmp/"
			}
			for _, owners := range []bool{true, false} {
				a := archive(t,
					tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o750, Uid: 12}, tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4755, Uid: 12},
					tar.Header{Typeflag: tar.TypeReg, Name: "d/.wh.f"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: "/d/f"})
				notes, err := e.CopyToContainer(ctx, state, api.CopyTo{Path: into, Archive: a, Owners: owners})
				if err != nil || len(notes) > 0 {
					t.Fatal(notes, err)
				}
				want := []string{"d/ 750 12", "d/.wh.f 644 0 content of d/.wh.f", "d/f 4755 12 content of d/f", "d/l -> /d/f"}
				if !owners { // the directory is there, and stays its owner's
					want = []string{"d/ 750 12", "d/.wh.f 644 0 content of d/.wh.f", "d/f 755 0 content of d/f", "d/l -> /d/f"}
				}
				got, err := copied(t, e, state, api.CopyFrom{Path: "/tmp/d"})
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("owners %v: %q, %v, want %q", owners, got, err, want)
				}
			}
			for _, tc := range []struct {
				from api.CopyFrom
				want string
				err  error
			}{
				{api.CopyFrom{Path: "/tmp/d/f", As: "other"}, "other 755 0 content of d/f", nil},
				{api.CopyFrom{Path: "/tmp/../../../tmp/d/f"}, "f 755 0 content of d/f", nil},
				{api.CopyFrom{Path: "etc/os-release"}, "os-release 644 0 NAME=test\n", nil},
				{api.CopyFrom{Path: "/tmp/d/l"}, "l -> /d/f", nil},
				{api.CopyFrom{Path: "/tmp/d/l", Follow: true}, "", fs.ErrNotExist}, // in the root that is another
				{api.CopyFrom{Path: "/tmp/d/f/"}, "", syscall.ENOTDIR},
				{api.CopyFrom{Path: "/tmp/d/f", As: "."}, "", syscall.ENOTDIR},
				{api.CopyFrom{Path: "/tmp/d/f", As: "../x"}, "", fs.ErrInvalid},
				{api.CopyFrom{Path: "/nosuch"}, "", fs.ErrNotExist}, {api.CopyFrom{}, "", fs.ErrInvalid},
			} {
				got, err := copied(t, e, state, tc.from)
				if !errors.Is(err, tc.err) || strings.Join(got, "|") != tc.want {
					t.Errorf("%+v: %q, %v; want %q, %v", tc.from, got, err, tc.want, tc.err)
				}
			}
			file := func() *os.File { return archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "d"}) }
			dir := func() *os.File { return archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "f/", Mode: 0o755}) }
			for _, tc := range []struct {
				what string
				to   api.CopyTo
				err  error
			}{
				{"a file over a directory", api.CopyTo{Path: "/tmp", Archive: file()}, fs.ErrExist},
				{"a directory over a file", api.CopyTo{Path: "/tmp/d", Archive: dir()}, fs.ErrExist},
				{"into a file", api.CopyTo{Path: "/tmp/d/f", Archive: file()}, syscall.ENOTDIR},
				{"into nothing", api.CopyTo{Path: "/tmp/no/such", Archive: file()}, fs.ErrNotExist},
			} {
				if _, err := e.CopyToContainer(ctx, state, tc.to); !errors.Is(err, tc.err) {
					t.Errorf("%s: %v, want %v", tc.what, err, tc.err)
				}
			}
			// What is mounted is there while it runs, and else not to be mistaken for
			// what is below it.
			_, err := e.CopyToContainer(ctx, state, api.CopyTo{Path: "/mnt", Archive: archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "m"})})
			if _, statErr := os.Stat(filepath.Join(host, "m")); (state == "running") != (err == nil && statErr == nil) {
				t.Errorf("into a mount: %v, %v", err, statErr)
			}
			f, err := e.StatContainer(ctx, state, "/tmp/d/l", false)
			if err != nil || f.Path != "/tmp/d/l" || f.Type != "symlink" {
				t.Errorf("stat: %+v, %v", f, err)
			}
		})
	}
	if err := e.StartContainer(ctx, "stopped", api.StartOptions{}); err != nil { // nothing is in its way
		t.Error(err)
	}
	if got, err := copied(t, e, "stopped", api.CopyFrom{Path: "/tmp/d/f"}); err != nil || len(got) != 1 {
		t.Errorf("after a start: %q, %v", got, err)
	}
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "ro", Image: "root", ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CopyToContainer(ctx, "ro", api.CopyTo{Path: "/tmp", Archive: archive(t)}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("to a read-only root: %v", err)
	}
	if got, err := copied(t, e, "ro", api.CopyFrom{Path: "/etc/os-release"}); err != nil || len(got) != 1 {
		t.Errorf("from a read-only root: %q, %v", got, err)
	}
	all, err := copied(t, e, "running", api.CopyFrom{Path: "/"})
	if err != nil || !slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, "etc/os-release ") }) ||
		slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, "proc/") && !strings.HasPrefix(l, "proc/ ") }) {
		t.Errorf("the whole root: %d files, %v", len(all), err)
	}
}

// What is in a mount of a container that does not run is refused by the mount's name,
// whether or not the root has something, or nothing at all, in its place.
func TestIntegrationCopyBesideMounts(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	host := t.TempDir()
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "m", Image: "root", Mounts: []api.Mount{
		{Type: api.MountVolume, Source: "data", Destination: "/v"}, {Type: api.MountTmpfs, Destination: "/mem"},
		{Source: host, Destination: "/srv/deep"}, {Type: api.MountTmpfs, Destination: "/tmp"}, // the image has this one
	}}); err != nil {
		t.Fatal(err)
	}
	links := archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "to", Linkname: "/v"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "one", Linkname: "v/one"})
	if _, err := e.CopyToContainer(t.Context(), "m", api.CopyTo{Path: "/", Archive: links}); err != nil {
		t.Fatal(err)
	}
	for path, mount := range map[string]string{
		"/v": "data", "/v/": "data", "/v/one": "data", "/v/a/b": "data", "/to/one": "data", "/mem": "tmpfs", "/mem/one": "tmpfs",
		"/tmp": "tmpfs", "/tmp/one": "tmpfs", "/tmp/a/b": "tmpfs", "/srv/deep/one": host,
	} {
		_, statErr := e.StatContainer(t.Context(), "m", path, false)
		_, followErr := e.StatContainer(t.Context(), "m", path, true)
		_, fromErr := copied(t, e, "m", api.CopyFrom{Path: path})
		_, toErr := e.CopyToContainer(t.Context(), "m", api.CopyTo{Path: path, Archive: archive(t)})
		for what, err := range map[string]error{"stat": statErr, "follow": followErr, "from": fromErr, "to": toErr} {
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "it is in the mount of "+mount+", which is there only while the container runs") {
				t.Errorf("%s %s: %v", what, path, err)
			}
		}
	}
	if _, err := e.StatContainer(t.Context(), "m", "/one", true); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("what a link leads to: %v", err)
	}
	if f, err := e.StatContainer(t.Context(), "m", "/one", false); err != nil || f.Type != "symlink" {
		t.Errorf("the link itself: %+v, %v", f, err)
	}
	for _, path := range []string{"/nosuch", "/srv/nosuch", "/vv/one", "/etc/os-release/x/y"} {
		if _, err := e.StatContainer(t.Context(), "m", path, false); errors.Is(err, fs.ErrInvalid) || err == nil {
			t.Errorf("%s, which is in none: %v", path, err)
		}
	}
}

// A container that swaps a directory for a link to a place of the host while one
// copies reaches nothing outside its root.
func TestIntegrationCopyToAHostileContainer(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	victim, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(victim, "secret")
	if err := os.WriteFile(secret, []byte("the host's"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	script := fmt.Sprintf(`cd /tmp; mkdir real real/sub; echo up
while :; do
	ln -s %s sub; rm -f sub; mkdir sub; rm -rf sub; ln -s %s%s sub; rm -f sub; ln -s real/sub sub; rm -f sub
	mkdir sub; mv sub moved; ln -s %s sub; rm -f sub; mv moved sub; mv real /away; ln -s / real; rm -f real; mv /away real; rm -rf sub
done`, victim, up, victim[1:], up)
	c := start(t, e, api.ContainerSpec{Name: "hostile", Image: "root", Command: []string{"sh", "-c", script}})
	waitLog(t, e, c.ID, "up\n")
	ok := 0
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		a := archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "planted"}, tar.Header{Typeflag: tar.TypeReg, Name: "sub/planted"})
		for _, into := range []string{"/tmp/sub", "/tmp"} {
			if _, err := a.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := e.CopyToContainer(ctx, c.ID, api.CopyTo{Path: into, Archive: a}); err == nil {
				ok++
			}
		}
		for _, follow := range []bool{true, false} {
			if got, err := copied(t, e, c.ID, api.CopyFrom{Path: "/tmp/sub/secret", Follow: follow}); err == nil {
				t.Errorf("copied out: %q", got)
			}
			if got, err := copied(t, e, c.ID, api.CopyFrom{Path: "/tmp/sub", Follow: follow}); err == nil && strings.Contains(strings.Join(got, "|"), "the host's") {
				t.Errorf("copied out: %q", got)
			}
		}
	}
	entries, err := os.ReadDir(victim)
	if err != nil || len(entries) != 1 {
		t.Errorf("on the host: %v, %v", entries, err)
	}
	if ok == 0 {
		t.Error("nothing could be copied at all")
	}
}

// One copies to and from what a running container sees: its volumes, its read-only
// mounts, its file systems in memory; what cannot be written to says so.
func TestIntegrationCopyMounts(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "h"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, e, api.ContainerSpec{Name: "m", Image: "root", ReadOnly: true, Command: []string{"sleep", "1000"}, Mounts: []api.Mount{
		{Type: api.MountVolume, Source: "data", Destination: "/v"}, {Source: host, Destination: "/ro", ReadOnly: true},
		{Type: api.MountTmpfs, Destination: "/mem"}, {Source: host, Destination: "/v/deep"},
	}})
	for _, tc := range []struct {
		into string
		want error
	}{{"/v", nil}, {"/mem", nil}, {"/v/deep", nil}, {"/ro", syscall.EROFS}, {"/", syscall.EROFS}, {"/tmp", syscall.EROFS}} {
		_, err := e.CopyToContainer(ctx, "m", api.CopyTo{Path: tc.into, Archive: archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: 12, Gid: 13}), Owners: true})
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), "read-only") {
			t.Errorf("into %s: %v, want %v", tc.into, err, tc.want)
		}
		if tc.want != nil {
			continue
		}
		const look = `test "$(cat "$1"/f)" = "content of f" && test "$(ls -ln "$1"/f | tr -s ' ' | cut -d' ' -f3,4)" = "12 13"`
		if exit, err := e.ExecContainer(ctx, "m", api.ExecOptions{Args: []string{"sh", "-c", look, "sh", tc.into}}); err != nil || exit.Code != 0 {
			t.Errorf("%s as the container sees it: %+v, %v", tc.into, exit, err)
		}
		if got, err := copied(t, e, "m", api.CopyFrom{Path: tc.into + "/f"}); err != nil || strings.Join(got, "|") != "f 644 12 content of f" {
			t.Errorf("from %s: %q, %v", tc.into, got, err)
		}
	}
	if got, err := copied(t, e, "m", api.CopyFrom{Path: "/v", As: "."}); err != nil || !slices.Contains(got, "deep/h 644 0 host") || !slices.Contains(got, "f 644 12 content of f") {
		t.Errorf("from the volume: %q, %v", got, err)
	}
	if got, err := copied(t, e, "m", api.CopyFrom{Path: "/ro/h"}); err != nil || strings.Join(got, "|") != "h 644 0 host" {
		t.Errorf("from a read-only mount: %q, %v", got, err)
	}
}
