//go:build amd64 || arm64

package seccomp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces are the flags of clone(2) that make namespaces.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Default refuses what Docker refuses to a container with the default
// capabilities (moby/profiles, seccomp/default_linux.go): what is of the whole
// machine (modules, clocks, swap, reboot), mounts and namespaces, keyrings,
// which have none, and what has been a way into the kernel too often
// (userfaultfd, io_uring, bpf, perf). Most of it needs capabilities that such
// a container lacks anyhow.
func Default() (*Policy, error) {
	p := &Policy{Arch: arch, Last: unix.SYS_RSEQ_SLICE_YIELD, Deny: map[uint32]syscall.Errno{}}
	for _, nr := range append(only(), denied...) {
		p.Deny[nr] = unix.EPERM
	}
	// Its flags are in memory, where a filter cannot look: programs fall back to
	// clone(2), whose flags are not.
	p.Deny[unix.SYS_CLONE3] = unix.ENOSYS
	p.Check = map[uint32]Check{
		unix.SYS_CLONE: {Arg: 0, Mask: namespaces, Values: []uint32{0}},
		// PER_LINUX, PER_LINUX32, with UNAME26, and the question what it is;
		// personality(2). Not those that undo address space randomisation.
		unix.SYS_PERSONALITY: {Arg: 0, Mask: ^uint32(0), Values: []uint32{0, 8, 0x20000, 0x20008, 0xffffffff}},
		// Virtual sockets know no namespaces.
		unix.SYS_SOCKET: {Arg: 0, Mask: ^uint32(0), Values: []uint32{unix.AF_VSOCK}, None: true},
	}
	return p, nil
}

// denied are refused on every architecture.
var denied = []uint32{
	// The machine.
	unix.SYS_ACCT, unix.SYS_CLOCK_ADJTIME, unix.SYS_CLOCK_SETTIME, unix.SYS_DELETE_MODULE, unix.SYS_FINIT_MODULE,
	unix.SYS_INIT_MODULE, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_KEXEC_LOAD, unix.SYS_NFSSERVCTL, unix.SYS_QUOTACTL,
	unix.SYS_QUOTACTL_FD, unix.SYS_REBOOT, unix.SYS_SETTIMEOFDAY, unix.SYS_SWAPOFF, unix.SYS_SWAPON, unix.SYS_SYSLOG,
	unix.SYS_VHANGUP,
	// Mounts and namespaces.
	unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_PIVOT_ROOT, unix.SYS_SETDOMAINNAME,
	unix.SYS_SETHOSTNAME, unix.SYS_SETNS, unix.SYS_UMOUNT2, unix.SYS_UNSHARE,
	// Other processes and files past their names.
	unix.SYS_KCMP, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE,
	// Memory of other nodes.
	unix.SYS_GET_MEMPOLICY, unix.SYS_MBIND, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_SET_MEMPOLICY,
	unix.SYS_SET_MEMPOLICY_HOME_NODE,
	// Keyrings.
	unix.SYS_ADD_KEY, unix.SYS_KEYCTL, unix.SYS_REQUEST_KEY,
	// Ways into the kernel.
	unix.SYS_BPF, unix.SYS_FANOTIFY_INIT, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_IO_URING_SETUP,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
}
