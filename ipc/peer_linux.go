package ipc

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// read asks for SO_PEERCRED and SO_PEERGROUPS, see socket(7) and unix(7).
func (p *Peer) read(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	p.UID, p.GID, p.PID = cred.Uid, cred.Gid, int(cred.Pid)
	for n := 32; ; n *= 8 { // few have more
		b, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS, make([]byte, 4*n))
		if errors.Is(err, unix.ERANGE) && n < groupsMax {
			continue
		}
		p.Groups = ids(b)
		return err
	}
}

const groupsMax = 65536 // NGROUPS_MAX, include/uapi/linux/limits.h

// here compares mount namespaces.
func (p *Peer) here(fd int) error {
	if p.PID <= 0 {
		return errors.New("its pid is not visible")
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if errors.Is(err, unix.ENOPROTOOPT) {
		pidfd, err = unix.PidfdOpen(p.PID, 0)
	}
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PEERPIDFD", err)
	}
	defer unix.Close(pidfd)
	var own, its syscall.Stat_t
	if err := stat("/proc/self/ns/mnt", &own); err != nil {
		return err
	}
	if err := stat("/proc/"+strconv.Itoa(p.PID)+"/ns/mnt", &its); err != nil {
		return err
	}
	// It was the peer's if the peer has not been reaped until now.
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	if own.Dev != its.Dev || own.Ino != its.Ino {
		return errors.New("another mount namespace")
	}
	return nil
}

func stat(path string, st *syscall.Stat_t) error {
	if err := syscall.Stat(path, st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return nil
}
