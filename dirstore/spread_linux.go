package dirstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// fsTopDir is FS_TOPDIR_FL of include/uapi/linux/fs.h.
const fsTopDir = 0x00020000

// Spread tells the file system that the directories that will be made in dir
// have nothing to do with each other (chattr(1), "T"). ext4 then looks for a
// group of blocks with much room for each, which takes it a fraction of a
// millisecond, and puts what will be in it there. By default a directory goes
// where its parent is, and when that is full, as below one with many small files,
// each inode takes as long to find. It is a hint, which other file systems do not
// know and some do not need.
func Spread(dir string) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&fsTopDir != 0 {
		return
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|fsTopDir)) // a hint
}
