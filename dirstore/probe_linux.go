package dirstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// probeOverlay makes an overlay with its directories in dir and uses it. The
// mount is never attached to the tree (fsmount(2)), so nobody sees it and it
// is gone with its descriptor.
func probeOverlay(dir string) error {
	for _, name := range []string{"l", "u", "w"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "l", "f"), []byte("lower"), 0o600); err != nil {
		return err
	}
	mnt, err := mountOverlay(dir)
	if err != nil {
		return err
	}
	defer mnt.Close()
	// A whiteout and a redirect-less copy-up are what containers need: as
	// upper, file systems without d_type, xattrs or whiteouts (NFS, vfat,
	// overlayfs itself) fail at one of them or refuse the mount.
	if err := unix.Unlinkat(int(mnt.Fd()), "f", 0); err != nil {
		return fmt.Errorf("remove a file of an overlay: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "u", "f"), &st); err != nil {
		return fmt.Errorf("whiteout in an overlay: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return fmt.Errorf("whiteout in an overlay has mode %o", st.Mode)
	}
	return nil
}

// mountOverlay names the directories by their descriptors: a value of
// fsconfig(2) is at most 256 bytes.
func mountOverlay(dir string) (_ *os.File, err error) {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("overlayfs: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // it is of no use any more
	for key, name := range map[string]string{"lowerdir": "l", "upperdir": "u", "workdir": "w"} {
		d, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		if err := unix.FsconfigSetString(fd, key, fmt.Sprintf("/proc/self/fd/%d", d.Fd())); err != nil {
			return nil, fmt.Errorf("overlayfs: %s: %w", key, err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, fmt.Errorf("overlayfs: %w", err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, errors.Join(errors.New("overlayfs"), err)
	}
	return os.NewFile(uintptr(mnt), "overlay"), nil
}
