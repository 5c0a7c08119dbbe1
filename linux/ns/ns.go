// Package ns furnishes a container's namespaces: its root, /proc, /sys and
// /dev, what of them is hidden, its host name and its loopback interface.
//
// The functions are for a process that is already alone in new namespaces
// (clone(2) with CLONE_NEWNS and the others it wants) and calls them in this
// order:
//
//	err := ns.Private()                       // nothing propagates to the host
//	proc, err := ns.Proc()                    // trees, attached nowhere yet
//	sys, err := ns.Sys()
//	dev, err := ns.Dev(ns.DevOptions{})
//	root, err := ns.Overlay(layers, ns.NoDev) // or ns.Clone
//	err = root.Pivot()                        // the host's mounts are gone
//	err = proc.Place("/proc")
//	err = sys.Place("/sys")
//	err = dev.Place("/dev")
//	err = volume.Attach("/data")
//	err = ns.Mask(ns.MaskedPaths()...)
//	err = ns.ReadOnly(ns.ReadOnlyPaths()...)
//
// A [Tree] is a mount, or a mount with all below it, held by a descriptor: it
// is made, given its attributes and only then attached, so that no moment
// exists in which it is there with other ones. See open_tree(2), fsopen(2),
// mount_setattr(2) and pivot_root(2).
//
// Linux 5.12. On other kernels every function returns errors.ErrUnsupported.
package ns

// Attr are attributes of a mount.
type Attr uint64

// The values of the kernel's MOUNT_ATTR_ constants; mount_setattr(2).
const (
	MountReadOnly Attr = 1
	NoSUID        Attr = 2
	NoDev         Attr = 4
	NoExec        Attr = 8
)

// Layers are the directories of an overlay file system.
type Layers struct {
	Lower []string // the topmost first
	Upper string   // what is written goes here; none when empty: read-only
	Work  string   // empty directory on the file system of Upper
	// Volatile: the file system never syncs. Work cannot be used again unless
	// its directory work/incompat/volatile is removed (overlayfs, "Volatile mount").
	Volatile bool
}

// TmpfsOptions are what can be chosen about a file system in memory.
type TmpfsOptions struct {
	Size     int64  // bytes; 0 is what the kernel takes, half of the memory
	Mode     uint32 // of its root directory
	UID, GID uint32 // of its root directory
}

// DevOptions are what can be chosen about /dev.
type DevOptions struct {
	ShmSize int64 // bytes; 0 is 64 MiB, as with Docker
}

// Node is a character device; the kernel's admin-guide/devices.txt.
type Node struct {
	Name         string // in /dev
	Major, Minor uint32
}

// Nodes are those of a /dev that [Dev] makes. Its pseudo-terminals come beside.
func Nodes() []Node {
	return []Node{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}
}

// MaskedPaths are what a container has no business with, as Docker hides it
// (moby, daemon/pkg/oci/defaults.go). Those that do not exist are skipped.
func MaskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// ReadOnlyPaths are what a container may read but not write, though it is
// root; as Docker has them.
func ReadOnlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// Caps is a set of capabilities, one bit for each; capabilities(7).
type Caps uint64

// DefaultCaps are Docker's default without CAP_MKNOD.
const DefaultCaps Caps = 1<<capChown | 1<<capDACOverride | 1<<capFowner | 1<<capFsetid | 1<<capKill |
	1<<capSetgid | 1<<capSetuid | 1<<capSetpcap | 1<<capNetBindService | 1<<capNetRaw |
	1<<capSysChroot | 1<<capAuditWrite | 1<<capSetfcap

// include/uapi/linux/capability.h.
const (
	capChown          = 0
	capDACOverride    = 1
	capFowner         = 3
	capFsetid         = 4
	capKill           = 5
	capSetgid         = 6
	capSetuid         = 7
	capSetpcap        = 8
	capNetBindService = 10
	capNetRaw         = 13
	capSysChroot      = 18
	capAuditWrite     = 29
	capSetfcap        = 31
)

// Has tells whether the set has a capability, by its number.
func (c Caps) Has(n int) bool { return c&(1<<n) != 0 }
