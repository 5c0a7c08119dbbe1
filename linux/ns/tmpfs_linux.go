package ns

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Tmpfs makes a tree of an empty file system in memory; tmpfs(5).
func Tmpfs(o TmpfsOptions, a Attr) (*Tree, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	settings := [][2]string{
		{"source", "tmpfs"}, // what df(1) shows
		{"mode", strconv.FormatUint(uint64(o.Mode), 8)},
		{"uid", strconv.FormatUint(uint64(o.UID), 10)}, {"gid", strconv.FormatUint(uint64(o.GID), 10)},
	}
	if o.Size > 0 {
		settings = append(settings, [2]string{"size", strconv.FormatInt(o.Size, 10)})
	}
	for _, s := range settings {
		if err := unix.FsconfigSetString(fs, s[0], s[1]); err != nil {
			return nil, fmt.Errorf("tmpfs %s=%s: %w%s", s[0], s[1], err, complaint(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount tmpfs: %w%s", err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(a))
	if err != nil {
		return nil, fmt.Errorf("fsmount tmpfs: %w", err)
	}
	return &Tree{fd}, nil
}
