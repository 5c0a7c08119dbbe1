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

func TestSettings(t *testing.T) {
	l := Limits{Memory: 64 << 20, CPU: 1.5, Pids: 7}
	if got := l.Controllers(); !slices.Equal(got, []string{"memory", "cpu", "pids"}) {
		t.Errorf("controllers %q", got)
	}
	for _, tt := range []struct {
		controller string
		version    int
		want       string
	}{
		{"memory", 2, "memory.max=67108864 memory.swap.max=0?"},
		{"memory", 1, "memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864?"},
		{"cpu", 2, "cpu.max=150000 100000"},
		{"cpu", 1, "cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000"},
		{"pids", 2, "pids.max=7"},
		{"pids", 1, "pids.max=7"},
		{"devices", 1, ""},
	} {
		var got []string
		for _, s := range l.settings(tt.controller, tt.version) {
			text := s.file + "=" + s.value
			if s.optional {
				text += "?"
			}
			got = append(got, text)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s of version %d: %s, want %s", tt.controller, tt.version, s, tt.want)
		}
	}
	if got := (Limits{}).Controllers(); len(got) > 0 {
		t.Errorf("no limits need %q", got)
	}
}

func TestVersionOne(t *testing.T) {
	const mounts = "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n" +
		"31 25 0:27 / /my\\040memory rw,relatime shared:9 - cgroup none rw,memory\n" +
		"32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=pids\n" +
		"33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,memory_recursiveprot\nx - cgroup\n"
	for controller, want := range map[string]string{"memory": "/my memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "pids": ""} {
		if got, err := versionOne(strings.NewReader(mounts), controller); got != want || err != nil {
			t.Errorf("%s: %q, %v", controller, got, err)
		}
	}
}

func TestOOMKills(t *testing.T) {
	for in, want := range map[string]int{
		"low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n": 3,
		"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n":                2,
		"oom_kill_disable 1\nunder_oom 0\n":                            0, // before Linux 4.13
		"oom_kill x\n":                                                 0, "": 0,
	} {
		if got := oomKills(in); got != want {
			t.Errorf("%q: %d", in, got)
		}
	}
}
