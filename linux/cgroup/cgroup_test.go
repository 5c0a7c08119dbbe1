package cgroup

import (
	"slices"
	"strings"
	"testing"
)

func TestMountPoint(t *testing.T) {
	tests := map[string]struct{ in, dir, root string }{
		"hybrid": {
			"30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" +
				"33 25 0:29 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/unified", "/"},
		"pure":    {"33 25 0:29 / /sys/fs/cgroup rw shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate\n", "/sys/fs/cgroup", "/"},
		"inside":  {"33 25 0:29 /../a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup", "/../a"},
		"escaped": {`33 25 0:29 / /my\040groups rw - cgroup2 cgroup2 rw`, "/my groups", "/"},
		"none":    {"30 25 0:26 / / rw - ext4 /dev/vda rw\n", "", ""},
		"strange": {"x - cgroup2 \n - \n\n", "", ""},
	}
	for name, tt := range tests {
		dir, root, err := mountPoint(strings.NewReader(tt.in))
		if dir != tt.dir || root != tt.root || err != nil {
			t.Errorf("%s: %q, %q, %v", name, dir, root, err)
		}
	}
}

func TestOwnGroup(t *testing.T) {
	for in, want := range map[string]string{
		"4:memory:/a\n0::/system.slice/xcd.service\n": "/system.slice/xcd.service",
		"0::/\n":        "/",
		"4:memory:/a\n": "",
	} {
		if got, err := ownGroup(strings.NewReader(in)); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestFiles(t *testing.T) {
	if p, err := populated("populated 1\nfrozen 0\n"); !p || err != nil {
		t.Error(p, err)
	}
	if p, err := populated("frozen 0\npopulated 0\n"); p || err != nil {
		t.Error(p, err)
	}
	if _, err := populated("frozen 0\n"); err == nil {
		t.Error("no error without a line populated")
	}
	if got, err := pids("12\n0\n7\n"); !slices.Equal(got, []int{12, 7}) || err != nil {
		t.Error(got, err)
	}
	if _, err := pids("x\n"); err == nil {
		t.Error("no error for x")
	}
}
