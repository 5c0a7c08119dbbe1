package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/dirstore"
	"github.com/joyboyid/xc/linux/cgroup"
)

// Check looks at what containers need here, and at what is missing. It changes
// nothing.
func (h *Host) Check(ctx context.Context) []Check {
	return check(ctx, slices.Concat(kernelNeeds(), h.storageNeeds(), h.cgroupNeeds(), networkNeeds()))
}

// kernelNeeds are what every container is made of.
func kernelNeeds() []need {
	list := []need{{
		area: "kernel", name: "Linux 5.12", required: true, look: atLeast(5, 12),
		purpose: "mounts of one's own (mount_setattr), processes started in their cgroup (clone3), pidfds",
		fix:     "apt-get install linux-image-amd64 && reboot",
	}}
	for _, n := range []struct{ name, option, purpose string }{
		{"pid", "PID_NS", "processes that see only each other"},
		{"mnt", "NAMESPACES", "mounts that die with the container"},
		{"net", "NET_NS", "a network stack of its own"},
		{"ipc", "IPC_NS", "System V and POSIX queues of its own"},
		{"uts", "UTS_NS", "a host name of its own"},
		{"cgroup", "CGROUPS", "cgroups seen from its own"},
	} {
		list = append(list, need{
			area: "kernel", name: n.name + " namespace", purpose: n.purpose, required: true,
			look: exists("/proc/self/ns/" + n.name), fix: "boot a kernel with CONFIG_" + n.option + "=y",
		})
	}
	return append(list, need{
		area: "kernel", name: "seccomp", required: true, look: exists("/proc/sys/kernel/seccomp/actions_avail"),
		purpose: "the default system call filter",
		fix:     "boot a kernel with CONFIG_SECCOMP_FILTER=y",
	})
}

// storageNeeds are what roots are made of.
func (h *Host) storageNeeds() []need {
	return []need{
		{
			area: "file system", name: "overlayfs", look: fileSystem("overlay"),
			purpose: "roots that cost nothing to make",
			fix:     "modprobe overlay && echo overlay > /etc/modules-load.d/overlay.conf",
		},
		{
			area: "storage", name: h.cfg.StateDir, purpose: "roots that share what they have in common",
			fix: "move state_dir to a directory on ext4, xfs or btrfs, on a kernel with overlayfs, and start xcd anew",
			look: func(context.Context) (bool, string, error) {
				return h.dirs.Mode() != dirstore.Copy, string(h.dirs.Mode()), nil
			},
		},
	}
}

// cgroupNeeds are what limits, and lists of devices, are made of.
func (h *Host) cgroupNeeds() []need {
	list := []need{{
		area: "cgroup", name: "cgroup2", purpose: "process trees of their own for exec'ed processes; start and end without polling",
		fix: "mount -t cgroup2 none /sys/fs/cgroup/unified, or Delegate=yes in the unit of xcd",
		look: func(context.Context) (bool, string, error) {
			dir, err := cgroup.Find()
			if errors.Is(err, errors.ErrUnsupported) {
				return false, err.Error(), nil
			}
			return true, dir, err
		},
	}}
	for _, c := range [][2]string{
		{"memory", "limits of memory"}, {"pids", "limits of the number of processes"},
		{"cpu", "limits of processor time"}, {"io", "limits of disk throughput"},
	} {
		list = append(list, need{
			area: "cgroup", name: "controller " + c[0], purpose: c[1], look: controller(c[0]),
			fix: "boot with cgroup_enable=" + c[0] + " systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
		})
	}
	return append(list, need{
		area: "cgroup", name: "devices", purpose: "processes that can open no device but those of their container, even by a node of it",
		fix: "boot a kernel with CONFIG_CGROUP_BPF=y, mount cgroup2, and let xcd have CAP_BPF and CAP_NET_ADMIN",
		look: func(context.Context) (bool, string, error) {
			switch {
			case h.devices.filter != nil:
				return true, "version 2, a filter of BPF", nil
			case h.devices.one != "":
				return true, "version 1, " + h.devices.one, nil
			}
			return false, oneLine(fmt.Sprint(h.devices.lacks)), nil
		},
	})
}

// networkNeeds are what networks other than none and host are made of.
func networkNeeds() []need {
	return []need{
		{area: "module", name: "bridge", look: module("bridge"), purpose: "networks", fix: "modprobe bridge && echo bridge > /etc/modules-load.d/bridge.conf"},
		{area: "module", name: "veth", look: module("veth"), purpose: "networks", fix: "modprobe veth && echo veth > /etc/modules-load.d/veth.conf"},
		{area: "module", name: "nf_tables", look: module("nf_tables"), purpose: "address translation, published ports", fix: "modprobe nf_tables && echo nf_tables > /etc/modules-load.d/nf_tables.conf"},
		{area: "program", name: "nft", look: program("nft"), purpose: "address translation, published ports", fix: "apt-get install nftables"},
		{area: "sysctl", name: "net.ipv4.ip_forward", look: sysctlOn("net/ipv4/ip_forward"), purpose: "containers that reach beyond this host by IPv4",
			fix: "echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-xc.conf && sysctl -p /etc/sysctl.d/90-xc.conf"},
		{area: "sysctl", name: "net.ipv6.conf.all.forwarding", look: sysctlOn("net/ipv6/conf/all/forwarding"), purpose: "containers that reach beyond this host by IPv6",
			fix: "echo net.ipv6.conf.all.forwarding=1 > /etc/sysctl.d/91-xc.conf && sysctl -p /etc/sysctl.d/91-xc.conf"},
	}
}

// atLeast looks at the kernel's release.
func atLeast(major, minor int) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return false, "", os.NewSyscallError("uname", err)
		}
		release := unix.ByteSliceToString(u.Release[:])
		var a, b int
		if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
			return false, release, fmt.Errorf("release %q: %w", release, err)
		}
		return a > major || a == major && b >= minor, release, nil
	}
}

func exists(path string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, "", nil
		}
		return err == nil, "", err
	}
}

// fileSystem looks for a type in filesystems(5), or a module that brings it:
// mount(2) has the kernel load it.
func fileSystem(name string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		b, err := os.ReadFile("/proc/filesystems")
		if err == nil && slices.Contains(strings.Fields(string(b)), name) {
			return true, "", nil
		}
		if err != nil {
			return false, "", err
		}
		return module(name)(ctx)
	}
}

// module looks for a module of the kernel: built in, loaded, or there to be
// loaded when it is asked for. Where the machine keeps no list of modules, one
// that is not loaded may be built in all the same.
func module(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			return true, "", nil
		}
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return false, "", os.NewSyscallError("uname", err)
		}
		dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
		for file, detail := range map[string]string{"modules.builtin": "built in", "modules.dep": "loaded when it is needed"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				return false, "", fmt.Errorf("not loaded; built in or not: %w", err)
			}
			if names(string(b), name) {
				return true, detail, nil
			}
		}
		return false, "", nil
	}
}

func program(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		path, err := exec.LookPath(name)
		return err == nil, path, nil
	}
}

// sysctlOn looks whether a sysctl(8) variable, named as in /proc/sys, is not 0.
func sysctlOn(path string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		b, err := os.ReadFile("/proc/sys/" + path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, "the kernel does not have it", nil
		}
		value := strings.TrimSpace(string(b))
		return value != "" && value != "0", value, err
	}
}

// controller looks for a cgroup controller in cgroup2, or else in a hierarchy
// of version 1.
func controller(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		c, err := cgroup.Controller(name)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return false, err.Error(), nil
		case err != nil:
			return false, "", err
		}
		return true, fmt.Sprintf("version %d, %s", c.Version, c.Dir), nil
	}
}
