package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/freebsd/pf"
	"github.com/joyboyid/xc/jail"
)

// Check looks at what containers need here, and at what is missing. It changes
// nothing.
func (h *Host) Check(ctx context.Context) []Check {
	return check(ctx, h.needs())
}

// needs is the whole table. What provides a thing is a command to be pasted, and
// nothing but that, where there is one.
func (h *Host) needs() []need {
	return slices.Concat(kernelNeeds(), h.storageNeeds(), h.deviceNeeds(), linuxNeeds(), networkNeeds())
}

// kldload is the command that loads a module, now and from now on.
func kldload(module string) string { return "kldload " + module + " && sysrc kld_list+=" + module }

// kernelNeeds are what jails are made of.
func kernelNeeds() []need {
	list := []need{
		{area: "kernel", name: "FreeBSD 14", required: true, look: release(1400000),
			purpose: "nullfs mounts of files, and all else this release was tried on", fix: "freebsd-update upgrade -r 14.3-RELEASE"},
		{area: "kernel", name: "vimage", required: true, look: sysctlOn("kern.features.vimage"),
			purpose: "a network stack of its own (VNET)", fix: "boot a kernel with options VIMAGE, such as GENERIC"},
		{area: "sysctl", name: "kern.racct.enable", look: sysctlOn("kern.racct.enable"),
			purpose: "limits and statistics of containers: rctl(4)", fix: "echo kern.racct.enable=1 >> /boot/loader.conf && shutdown -r now"},
	}
	for _, ipc := range []string{"sysvmsg", "sysvsem", "sysvshm"} {
		list = append(list, need{area: "kernel", name: ipc, look: parameter(ipc),
			purpose: "System V IPC of its own", fix: kldload(ipc)})
	}
	for _, m := range []struct{ name, purpose string }{
		{"fdescfs", "/dev/fd"}, {"nullfs", "volumes, read-only roots and roots in directories"},
	} {
		list = append(list, need{area: "module", name: m.name, required: true, look: fileSystem(m.name), purpose: m.purpose,
			fix: kldload(m.name)})
	}
	return append(list,
		need{area: "module", name: "tmpfs", look: fileSystem("tmpfs"), purpose: "file systems in memory, /dev/shm of Linux programs", fix: kldload("tmpfs")},
		need{area: "module", name: "procfs", look: fileSystem("procfs"), purpose: "/proc of containers and images that ask for it", fix: kldload("procfs")})
}

// storageNeeds are what roots are made of.
func (h *Host) storageNeeds() []need {
	list := h.volumeNeeds()
	list = append(list, need{area: "module", name: "zfs", look: fileSystem("zfs"), purpose: "roots as clones, which cost nothing to make", fix: "sysrc zfs_enable=YES && service zfs start"})
	if h.datas == nil {
		return append(list, need{area: "dataset", name: "image_dataset, container_dataset", purpose: "roots as clones instead of copies",
			look: func(context.Context) (bool, string, error) { return false, "not configured", nil },
			fix:  "zfs create -p -o mountpoint=none zroot/xc/images && zfs create -o mountpoint=none zroot/xc/containers, then set both in xc.config"})
	}
	for _, d := range []struct{ name, purpose string }{
		{h.cfg.ImageDataset, "roots of images"}, {h.cfg.ContainerDataset, "roots of containers"},
	} {
		list = append(list, need{area: "dataset", name: d.name, required: true, purpose: d.purpose, look: h.dataset(d.name),
			fix: "zfs create -p -o mountpoint=none " + d.name})
		list = append(list, need{area: "dataset", name: d.name + " mountpoint=none", purpose: "only xc mounts what is below it", look: h.unmounted(d.name),
			fix: "zfs set mountpoint=none " + d.name})
	}
	return append(list, need{area: "sysctl", name: "vfs.zfs.version.ioctl", purpose: "clone, snapshot and destroy without running zfs(8), five times as fast",
		look: func(context.Context) (bool, string, error) {
			n, err := unix.SysctlUint32("vfs.zfs.version.ioctl")
			return h.zfs.Native(), strconv.Itoa(int(n)), err
		},
		fix: "none is needed: zfs(8) is run instead"})
}

// volumeNeeds are what volumes are kept in.
func (h *Host) volumeNeeds() []need {
	d := h.cfg.VolumeDataset
	if d == "" {
		return nil
	}
	return []need{{area: "dataset", name: d, purpose: "volumes", look: h.dataset(d), fix: "zfs create -p -o mountpoint=none " + d}}
}

// deviceNeeds are the rulesets of devfs.
func (h *Host) deviceNeeds() []need {
	var list []need
	for i, n := range h.rulesets() {
		number := uint16(h.cfg.DevfsOffset + i)
		list = append(list, need{area: "devfs", name: "ruleset " + strconv.Itoa(int(number)), required: true, purpose: "the devices a container sees",
			look: func(context.Context) (bool, string, error) {
				have, err := devfs.Rules(number)
				if errors.Is(err, fs.ErrNotExist) {
					return false, "somebody has deleted it", nil
				}
				if want := len(n.Rules()); err == nil && len(have) != want {
					return false, fmt.Sprintf("%d rules and not %d: if somebody else uses the number, set another devfs_id_offset", len(have), want), nil
				}
				return err == nil, fmt.Sprintf("%d rules", len(have)), err
			},
			fix: "service xcd restart"})
	}
	return list
}

// linuxNeeds are what programs for Linux need: linux(4).
func linuxNeeds() []need {
	list := []need{{area: "module", name: "linux64", look: sysctlThere("kern.features.linux64"), purpose: "images for Linux", fix: "sysrc linux_enable=YES && service linux start"}}
	for _, m := range []struct{ name, purpose string }{{"linprocfs", "/proc of Linux programs"}, {"linsysfs", "/sys of Linux programs"}} {
		list = append(list, need{area: "module", name: m.name, look: fileSystem(m.name), purpose: m.purpose, fix: kldload(m.name)})
	}
	return append(list, need{area: "sysctl", name: "kern.elf64.fallback_brand", purpose: "statically linked Linux programs, which do not say what they are",
		look: func(context.Context) (bool, string, error) {
			n, err := fallbackBrand()
			return n == brandLinux, strconv.Itoa(n), err
		},
		fix: "sysctl kern.elf64.fallback_brand=3"})
}

// networkNeeds are what networks other than none and host are made of.
func networkNeeds() []need {
	list := []need{}
	for _, m := range []string{"if_epair", "if_bridge"} {
		list = append(list, need{area: "module", name: m, look: loaded(m), purpose: "networks", fix: kldload(m)})
	}
	return append(list,
		need{area: "sysctl", name: "net.inet.ip.forwarding", look: sysctlOn("net.inet.ip.forwarding"), purpose: "containers that reach beyond this host by IPv4",
			fix: "sysrc gateway_enable=YES && sysctl net.inet.ip.forwarding=1"},
		need{area: "sysctl", name: "net.inet6.ip6.forwarding", look: sysctlOn("net.inet6.ip6.forwarding"), purpose: "containers that reach beyond this host by IPv6",
			fix: "sysrc ipv6_gateway_enable=YES && sysctl net.inet6.ip6.forwarding=1"},
		need{area: "module", name: "pf", look: loaded("pf"), purpose: "published ports, address translation", fix: kldload("pf")},
		need{area: "pf", name: "enabled", look: pfSays(pf.Enabled),
			purpose: "published ports, address translation", fix: "sysrc pf_enable=YES && service pf start"},
		need{area: "pf", name: `rdr-anchor "` + anchors + `/*"`, look: pfSays(func(ctx context.Context) (bool, error) { return pf.Calls(ctx, "rdr-anchor", anchors) }),
			purpose: "published ports", fix: anchorFix},
	)
}

// release looks at the kernel's version: kern.osreldate.
func release(least uint32) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		n, err := unix.SysctlUint32("kern.osreldate")
		if err != nil {
			return false, "", err
		}
		name, err := unix.Sysctl("kern.osrelease")
		return n >= least, name, err
	}
}

// parameter looks for a parameter of jails.
func parameter(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) { return jail.Supports(name), "", nil }
}

func sysctlThere(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		_, err := unix.SysctlRaw(name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, "", nil
		}
		return err == nil, "", err
	}
}

// sysctlOn looks whether a number is not 0.
func sysctlOn(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		b, err := unix.SysctlRaw(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, "the kernel does not have it", nil
		case err != nil:
			return false, "", err
		case len(b) == 1: // a bool
			return b[0] != 0, strconv.Itoa(int(b[0])), nil
		case len(b) < 4:
			return false, "", fmt.Errorf("sysctl %s: %d bytes: no number", name, len(b))
		}
		n := int32(binary.NativeEndian.Uint32(b))
		return n != 0, strconv.Itoa(int(n)), nil
	}
}

// fileSystem looks for a type of file system: mount(2) has the kernel load it,
// where its module is in kern.module_path.
func fileSystem(name string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		if there, detail, err := loaded(name)(ctx); there || err != nil {
			return there, detail, err
		}
		path, err := unix.Sysctl("kern.module_path")
		if err != nil {
			return false, "", err
		}
		for dir := range strings.SplitSeq(path, ";") {
			if _, err := os.Stat(filepath.Join(dir, name+".ko")); err == nil {
				return true, "loaded when it is needed", nil
			}
		}
		return false, "", nil
	}
}

// loaded looks for a module that the kernel has, built in or loaded: modfind(2).
func loaded(name string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		err := modfind(name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, "", nil
		}
		return err == nil, "", err
	}
}

// pfSays asks pf. Without its module it can say nothing.
func pfSays(ask func(context.Context) (bool, error)) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		if !pf.Loaded() {
			return false, "pf is not loaded", nil
		}
		there, err := ask(ctx)
		return there, "", err
	}
}

// brandLinux is ELFOSABI_LINUX, sys/sys/elf_common.h.
const brandLinux = 3

// fallbackBrand is what the kernel takes a program for that does not say what it
// is; -1 is nothing.
func fallbackBrand() (int, error) {
	n, err := unix.SysctlUint32("kern.elf64.fallback_brand")
	return int(int32(n)), err
}

// dataset looks for a dataset. Without its module ZFS has none; zfs(8) would load it
// to say so.
func (h *Host) dataset(name string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		if there, _, err := loaded("zfs")(ctx); err != nil || !there {
			return false, "zfs is not loaded", err
		}
		there, err := h.zfs.Exists(ctx, name)
		return there, "", err
	}
}

// unmounted looks whether a dataset is not mounted by itself, nor what is below
// it.
func (h *Host) unmounted(name string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		props, err := h.zfs.Props(ctx, name, "mountpoint")
		point := props["mountpoint"]
		return point == "none" || point == "legacy", point, err
	}
}

// modfind is modfind(2): fs.ErrNotExist says that there is no such module.
func modfind(name string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MODFIND, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return os.NewSyscallError("modfind "+name, errno)
	}
	return nil
}
