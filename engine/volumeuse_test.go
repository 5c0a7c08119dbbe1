package engine_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func volumeMount(name, dst string) api.Mount {
	return api.Mount{Type: api.MountVolume, Source: name, Destination: dst}
}

func readOnly(m api.Mount) api.Mount { m.ReadOnly = true; return m }

// importVolumes imports rootTar with more in it, as an image that declares
// volumes, in two layers' worth of names: what overlayfs has to merge.
func importVolumes(t *testing.T, e api.Engine, name string, declared ...string) {
	t.Helper()
	b := rootOf(t)
	var more bytes.Buffer
	w := tar.NewWriter(&more)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "var/", Mode: 0o755}, {Typeflag: tar.TypeDir, Name: "var/lib/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "var/lib/db/", Mode: 0o1770, Uid: 70, Gid: 71},
		{Typeflag: tar.TypeReg, Name: "var/lib/db/seed", Mode: 0o640, Uid: 70, Gid: 71, Size: 4},
		{Typeflag: tar.TypeSymlink, Name: "data", Linkname: "/var/lib/db"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("seed")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.tar")
	const end = 1024 // two empty records
	if err := os.WriteFile(path, append(slices.Clone(b[:len(b)-end]), more.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := e.ImportImage(t.Context(), api.ImportSpec{Name: name, Archive: f, ConfigChange: api.ConfigChange{Cmd: []string{"/bin/sh"}, Volumes: declared}}); err != nil {
		t.Fatal(err)
	}
}

// TestIntegrationMountTypes: each type and option, tried by writing.
func TestIntegrationMountTypes(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub/deep"), 0o755), os.WriteFile(filepath.Join(dir, "sub/f"), []byte("deep"), 0o644),
		os.Symlink("/etc", filepath.Join(dir, "out")), os.Symlink("../sub", filepath.Join(dir, "sub/again"))); err != nil {
		t.Fatal(err)
	}
	sub := func(m api.Mount, name string) api.Mount { m.Subpath = name; return m }
	bind := api.Mount{Type: api.MountBind, Source: dir, Destination: "/m"}
	for _, tc := range []struct {
		name   string
		mounts []api.Mount
		script string
		out    string // beginning
	}{
		{"volume", []api.Mount{volumeMount("v", "/m")}, "echo x >/m/f && cat /m/f", "x\n"},
		{"what is in it stays", []api.Mount{volumeMount("v", "/deep/er")}, "cat /deep/er/f", "x\n"},
		{"read-only", []api.Mount{readOnly(volumeMount("v", "/m"))}, "cat /m/f; echo y 2>&1 >/m/f || echo refused", "x\n"},
		{"read-only and not", []api.Mount{readOnly(volumeMount("v", "/a")), volumeMount("v", "/b")}, "(echo y >/a/g) 2>/dev/null || echo z >/b/g; cat /a/g", "z\n"},
		{"one in the other", []api.Mount{volumeMount("inner", "/m/in/ner"), volumeMount("v", "/m")}, "echo i >/m/in/ner/i; cat /m/f; ls /m/in/ner", "x\ni\n"},
		{"behind a link", []api.Mount{volumeMount("v", "/lib/../tmp/x")}, "cat /tmp/x/f", "x\n"},
		{"read-only root", []api.Mount{volumeMount("v", "/new/one")}, "echo r >/new/one/r && cat /new/one/r", "r\n"},
		{"bind with subpath", []api.Mount{sub(bind, "sub")}, "cat /m/f", "deep"},
		{"subpath by a link", []api.Mount{sub(bind, "sub/again/../sub/./deep/..")}, "cat /m/f", "deep"},
		{"file as subpath", []api.Mount{sub(bind, "sub/f")}, "cat /m", "deep"},
		{"volume with subpath", []api.Mount{sub(volumeMount("v", "/m"), "in")}, "ls /m", "ner\n"},
		{"tmpfs", []api.Mount{{Type: api.MountTmpfs, Destination: "/m", Size: 1 << 20, Mode: 0o750, UID: 1000, GID: 2000}}, "ls -ldn /m; head -c 3000000 /dev/zero >/m/f 2>/dev/null || echo full", "drwxr-x---"},
		{"tmpfs of everybody", []api.Mount{{Type: api.MountTmpfs, Destination: "/m"}}, "ls -ld /m; echo x >/m/f", "drwxrwxrwt"},
		{"read-only tmpfs", []api.Mount{readOnly(api.Mount{Type: api.MountTmpfs, Destination: "/m"})}, "(echo x >/m/f) 2>/dev/null || echo refused", "refused\n"},
	} {
		spec := api.ContainerSpec{Mounts: tc.mounts, ReadOnly: tc.name == "read-only root"}
		out, exit := sh(t, e, spec, tc.script)
		if !strings.HasPrefix(out, tc.out) || exit.Code != 0 || tc.name == "tmpfs" && !strings.HasSuffix(out, "full\n") || tc.name == "read-only" && !strings.HasSuffix(out, "refused\n") {
			t.Errorf("%s: %q, %+v; want %q", tc.name, out, exit, tc.out)
		}
	}
	for _, tc := range []struct {
		name   string
		mount  api.Mount
		create bool // refused there already
		want   error
	}{
		{"subpath out of it", sub(bind, "out/passwd"), false, fs.ErrNotExist},
		{"no such subpath", sub(bind, "none"), false, fs.ErrNotExist},
		{"no volume's name", volumeMount("../x", "/m"), true, fs.ErrInvalid},
		{"no such type", api.Mount{Type: "nfs", Destination: "/m"}, true, fs.ErrInvalid},
		{"size of a volume", api.Mount{Type: api.MountVolume, Source: "v", Destination: "/m", Size: 1}, true, fs.ErrInvalid},
		{"nocopy of a bind", api.Mount{Type: api.MountBind, Source: dir, Destination: "/m", NoCopy: true}, true, fs.ErrInvalid},
		{"source of a tmpfs", api.Mount{Type: api.MountTmpfs, Source: "x", Destination: "/m"}, true, fs.ErrInvalid},
		{"over the root", volumeMount("v", "/."), true, fs.ErrInvalid},
	} {
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}, Mounts: []api.Mount{tc.mount}})
		if err == nil {
			if tc.create {
				t.Errorf("%s: made", tc.name)
			}
			err = e.StartContainer(t.Context(), c.ID, api.StartOptions{})
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

// TestIntegrationMountRestrictions: what is in a mount can be kept from being
// executed, and from setting the user.
func TestIntegrationMountRestrictions(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, m := range []api.Mount{volumeMount("v", "/m"), {Type: api.MountTmpfs, Destination: "/m"}} {
		for _, noexec := range []bool{false, true} {
			m.NoExec, m.NoSUID = noexec, !noexec
			const script = "cat /bin/id >/m/id && (chmod 4755 /m/id || true) && if /m/id -u >/dev/null 2>&1; then echo executed; else echo refused; fi"
			want := map[bool]string{false: "executed\n", true: "refused\n"}[noexec]
			if out, exit := sh(t, e, api.ContainerSpec{Mounts: []api.Mount{m}}, script); out != want || exit.Code != 0 {
				t.Errorf("%+v: %q, %+v", m, out, exit)
			}
		}
	}
}

func TestIntegrationVolumeUsers(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "web", Image: "root", Command: []string{"sleep", "1000"}, Mounts: []api.Mount{volumeMount("db", "/db")}})
	if err != nil {
		t.Fatal(err)
	}
	inUse := func(when string) {
		t.Helper()
		if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{Force: true}); !errors.Is(err, api.ErrInUse) || !strings.Contains(err.Error(), "web") {
			t.Errorf("%s: %v", when, err)
		}
		if p, err := e.PruneVolumes(t.Context(), api.PruneVolumesOptions{All: true}); err != nil || len(p.Names) > 0 {
			t.Errorf("%s: pruned %+v, %v", when, p, err)
		}
	}
	inUse("created")
	if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	inUse("running")
	if v, err := e.InspectVolume(t.Context(), "db"); err != nil || !slices.Equal(v.Users, []string{"web"}) {
		t.Errorf("%+v, %v", v, err)
	}
	usage, err := e.DiskUsage(t.Context())
	if u := usage[len(usage)-1]; err != nil || u.Active != 1 || u.Reclaimable != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true, Volumes: true}); err != nil {
		t.Fatal(err)
	}
	if got := volumeNames(t, e); got != "db" {
		t.Errorf("a named volume does not go with its container: %q", got)
	}
	if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{}); err != nil {
		t.Error(err)
	}
}

// TestIntegrationVolumeFromImage: an empty volume gets what the image has where it
// is to be, with owners and modes; what is in it is not in the container's root.
func TestIntegrationVolumeFromImage(t *testing.T) {
	e := testEngine(t)
	importVolumes(t, e, "declares", "/var/lib/db")
	const look = "ls -ldn /var/lib/db /var/lib/db/seed; cat /var/lib/db/seed"
	want := func(out string) bool {
		lines := strings.Split(out, "\n")
		return len(lines) == 3 && strings.HasPrefix(lines[0], "drwxrwx--T") && strings.Contains(lines[0], "70") && strings.Contains(lines[0], "71") &&
			strings.HasPrefix(lines[1], "-rw-r-----") && strings.Contains(lines[1], "70") && lines[2] == "seed"
	}
	for name, mounts := range map[string][]api.Mount{
		"declared": nil, "named": {volumeMount("db", "/var/lib/db")}, "by a link": {volumeMount("linked", "/data")}, "anonymous": {volumeMount("", "/var/lib/db")},
		"read-only": {readOnly(volumeMount("ro", "/var/lib/db"))},
	} {
		if out, exit := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: mounts}, look); !want(out) || exit.Code != 0 {
			t.Errorf("%s: %q, %+v", name, out, exit)
		}
	}
	if out, _ := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: []api.Mount{{Type: api.MountVolume, Source: "bare", Destination: "/var/lib/db", NoCopy: true}}}, "ls /var/lib/db; echo end"); out != "end\n" {
		t.Errorf("nocopy: %q", out)
	}
	out, _ := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: []api.Mount{volumeMount("db", "/var/lib/db")}}, "rm /var/lib/db/seed; echo mine >/var/lib/db/mine")
	if out2, _ := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: []api.Mount{volumeMount("db", "/var/lib/db")}}, "ls /var/lib/db"); out2 != "mine\n" {
		t.Errorf("what is not empty is left alone: %q%q", out, out2)
	}
	// Another type of mount, or one of the user's own, is instead of the image's.
	if out, _ := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: []api.Mount{{Type: api.MountTmpfs, Destination: "/var/lib/db/"}}}, "ls /var/lib/db; echo end"); out != "end\n" {
		t.Errorf("tmpfs: %q", out)
	}
}

// TestIntegrationVolumeFromLayers: what is copied is what all layers make.
func TestIntegrationVolumeFromLayers(t *testing.T) {
	e := testEngine(t)
	importVolumes(t, e, "base")
	for i, script := range []string{"echo one >/var/lib/db/one", "rm /var/lib/db/seed; echo two >/var/lib/db/two"} {
		name := []string{"base", "second"}[i]
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "c", Image: name, Command: []string{"sh", "-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 0 {
			t.Fatalf("%+v, %v", exit, err)
		}
		spec := api.CommitSpec{Name: []string{"second", "third"}[i], ConfigChange: api.ConfigChange{Volumes: []string{"/var/lib/db"}}}
		if _, err := e.CommitContainer(t.Context(), c.ID, spec); err != nil {
			t.Fatal(err)
		}
		if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if i == 0 { // the second script writes into the root only where there is no volume
			if out, _ := sh(t, e, api.ContainerSpec{Image: "second", AutoRemove: true}, "ls /var/lib/db"); out != "one\nseed\n" {
				t.Errorf("second: %q", out)
			}
		}
	}
	if out, _ := sh(t, e, api.ContainerSpec{Image: "third", AutoRemove: true}, "ls /var/lib/db"); out != "one\nseed\n" {
		t.Errorf("what is written into a volume is in no commit: %q", out)
	}
}

func TestIntegrationAnonymousVolumes(t *testing.T) {
	e := testEngine(t)
	importVolumes(t, e, "declares", "/var/lib/db", "/proc")
	count := func() int {
		return len(strings.Fields(volumeNames(t, e)))
	}
	create := func(auto bool) api.Container {
		t.Helper()
		c, err := e.CreateContainer(t.Context(), api.ContainerSpec{
			Image: "declares", Command: []string{"sh", "-c", "echo x >>/var/lib/db/seed"}, AutoRemove: auto, Mounts: []api.Mount{volumeMount("", "/more")},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	run := func(c api.Container) {
		t.Helper()
		if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		if exit, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil || exit.Code != 0 {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
	c := create(false)
	if count() != 2 || len(c.Mounts) != 2 || c.Mounts[0].Source == "" {
		t.Errorf("%d volumes, %+v", count(), c.Mounts)
	}
	for range 2 {
		run(c) // they last from one run to the next
	}
	var changes []string
	if err := e.DiffContainer(t.Context(), c.ID, func(ch api.Change) error { changes = append(changes, ch.Path); return nil }); err != nil || len(changes) > 0 {
		t.Errorf("changes: %q, %v", changes, err)
	}
	var kept string
	for _, m := range c.Mounts {
		if m.Destination == "/var/lib/db" {
			kept = m.Source
		}
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if count() != 2 {
		t.Errorf("%d volumes, want both to stay", count())
	}
	if out, _ := sh(t, e, api.ContainerSpec{Image: "declares", Mounts: []api.Mount{volumeMount(kept, "/var/lib/db")}}, "cat /var/lib/db/seed"); out != "seedx\nx\n" {
		t.Errorf("%q", out)
	}
	if p, err := e.PruneVolumes(t.Context(), api.PruneVolumesOptions{}); err != nil || len(p.Names) != 2 || count() != 0 {
		t.Errorf("%+v, %v, %d left", p, err, count())
	}
	c = create(false)
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Volumes: true}); err != nil || count() != 0 {
		t.Errorf("rm -v: %v, %d left", err, count())
	}
	c = create(true)
	run(c)
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if count() != 0 {
		t.Errorf("--rm: %d left", count())
	}
	// One that another container has by its name by now is not taken from it.
	c = create(false)
	other, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "declares", Command: []string{"true"}, Mounts: []api.Mount{volumeMount(c.Mounts[0].Source, "/var/lib/db")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Volumes: true}); err != nil || count() != 1 {
		t.Errorf("%v, %d left", err, count())
	}
	run(other)
	// What cannot be made leaves none.
	if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "declares", Name: "x", Command: []string{"true"}, Mounts: []api.Mount{volumeMount("", "/a"), {Type: api.MountBind, Source: "/no/such", Destination: "/b"}}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if count() != 1 {
		t.Errorf("%d left", count())
	}
}

// Containers that need the same new volume at the same time all get it.
func TestIntegrationVolumeForSeveral(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for round := range 3 {
		name := fmt.Sprint("shared", round)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Mounts: []api.Mount{volumeMount(name, "/data")}}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if v, err := e.InspectVolume(t.Context(), name); err != nil || len(v.Users) != 4 {
			t.Errorf("%+v, %v", v, err)
		}
	}
}
