package inroot

import "golang.org/x/sys/unix"

const oPath = unix.O_PATH

// openDir opens a directory for look-ups only. O_PATH asks for no permission on
// the directory itself.
const openDir = oPath | unix.O_DIRECTORY | unix.O_NOFOLLOW

// openInRoot has the kernel resolve a directory (openat2(2), Linux 5.6). Any
// error, among them EAGAIN for a rename that raced, sends the caller to the walk.
func openInRoot(root int, name string) (int, error) {
	return unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}
