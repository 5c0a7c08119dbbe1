package inroot

import (
	"errors"

	"golang.org/x/sys/unix"
)

// oPath is O_PATH of sys/fcntl.h (FreeBSD 13.1), which x/sys lacks.
const oPath = 0x00400000

// openDir opens a directory for look-ups only.
const openDir = oPath | unix.O_DIRECTORY | unix.O_NOFOLLOW

// openInRoot always fails: O_RESOLVE_BENEATH refuses absolute links and "..",
// which are legal inside a root.
func openInRoot(int, string) (int, error) { return -1, errors.ErrUnsupported }
