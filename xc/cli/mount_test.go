package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestMountFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir(filepath.Join(dir, "a,b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flag, value string
		want        api.Mount
	}{
		{"-v", "/data", api.Mount{Type: "volume", Destination: "/data"}},
		{"-v", "db:data", api.Mount{Type: "volume", Source: "db", Destination: "data"}}, // a name that the image has for a place
		{"-v", "db:/data", api.Mount{Type: "volume", Source: "db", Destination: "/data"}},
		{"-v", "db:/data:ro,nosuid,noexec,nocopy", api.Mount{Type: "volume", Source: "db", Destination: "/data", ReadOnly: true, NoSUID: true, NoExec: true, NoCopy: true}},
		{"-v", "./a,b:/data:ro", api.Mount{Type: "bind", Source: dir + "/a,b", Destination: "/data", ReadOnly: true}},
		{"-v", ".:/data:nosuid", api.Mount{Type: "bind", Source: dir, Destination: "/data", NoSUID: true}},
		{"--mount", "target=/data", api.Mount{Type: "volume", Destination: "/data"}},
		{"--mount", "type=volume,src=db,dst=/data,readonly,volume-subpath=a/b,volume-nocopy", api.Mount{Type: "volume", Source: "db", Destination: "/data", ReadOnly: true, Subpath: "a/b", NoCopy: true}},
		{"--mount", `"source=a,b",type=bind,destination=/data,ro=false,noexec=1`, api.Mount{Type: "bind", Source: dir + "/a,b", Destination: "/data", NoExec: true}},
		{"--mount", "type=nullfs,source=" + dir + ",target=/data,ro,nosuid,subpath=x", api.Mount{Type: "bind", Source: dir, Destination: "/data", ReadOnly: true, NoSUID: true, Subpath: "x"}},
		{"--mount", "type=tmpfs,target=/t", api.Mount{Type: "tmpfs", Destination: "/t", NoSUID: true, NoExec: true}},
		{"--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700,exec,uid=5", api.Mount{Type: "tmpfs", Destination: "/t", NoSUID: true, Size: 1 << 20, Mode: 0o700, UID: 5}},
		{"--mount", "type=zfs,source=tank/a,target=/z,ro", api.Mount{Type: "zfs", Source: "tank/a", Destination: "/z", ReadOnly: true}},
		{"--tmpfs", "/t", api.Mount{Type: "tmpfs", Destination: "/t", NoSUID: true, NoExec: true}},
		{"--tmpfs", "/t:rw,exec,suid,nodev,size=65536k,mode=1777,uid=1,gid=2", api.Mount{Type: "tmpfs", Destination: "/t", Size: 64 << 20, Mode: 0o1777, UID: 1, GID: 2}},
	} {
		f := newFake(t)
		if r := f.xc(t, "create", tc.flag, tc.value, "alpine:3"); r.code != 0 {
			t.Errorf("%s %s: %+v", tc.flag, tc.value, r)
			continue
		}
		got := f.first().Mounts[0]
		if got != tc.want {
			t.Errorf("%s %s: %+v, want %+v", tc.flag, tc.value, got, tc.want)
		}
	}
	for _, tc := range [][3]string{
		{"-v", "a:b:c:d", "expected"},
		{"-v", ":/data", "the source is empty"},
		{"-v", "data", "expected an absolute path"},
		{"-v", "db:/data:z", `unknown option "z"`},
		{"-v", "./none:/data", "none: no such file"},
		{"-v", ".:/data:nocopy", `unknown option "nocopy"`},
		{"--mount", "source=db", "the target is missing"},
		{"--mount", "type=bind,target=/data", "the source is missing"},
		{"--mount", "type=nfs,target=/data", `type "nfs"`},
		{"--mount", "target=/data,consistency=cached", `unknown key "consistency"`},
		{"--mount", "target=/data,ro=maybe", "neither true nor false"},
		{"--mount", "type=tmpfs,target=/t,size=much", `size "much"`},
		{"--tmpfs", "/t:mode=9", "mode=9: not a number"},
		{"--tmpfs", "/t:size=9999999999g", "size"},
		{"--tmpfs", "/t:sync", `unknown option "sync"`},
	} {
		f := newFake(t)
		if r := f.xc(t, "create", tc[0], tc[1], "alpine:3"); r.code != 125 || !strings.Contains(r.errout, tc[2]) || !strings.Contains(r.errout, tc[0]) || strings.Count(r.errout, "\n") != 1 {
			t.Errorf("%s %s: %+v, want %q", tc[0], tc[1], r, tc[2])
		}
	}
}
