// Package inroot resolves names inside a root directory, against a running
// attacker.
//
// The root is a directory that somebody else fills: a container's file system,
// an unpacked image. Inside it names mean what they mean to a process that was
// chrooted there: an absolute symlink restarts at the root, ".." at the top
// stays at the top. Whatever the links say, and whoever renames directories
// while a name is being resolved, the walk never leaves the root: each component
// is opened relative to the descriptor of its parent and never followed by the
// kernel, and the act itself (open, stat, remove, ...) is done relative to the
// last directory's descriptor. A name is never looked up a second time.
//
//	r, err := inroot.Open("/jails/web")
//	defer r.Close()
//	passwd, err := r.ReadFile("/etc/passwd", 1<<20) // refuses a FIFO, a device, 10 GB
//	prog, err := r.LookPath("nginx", "/usr/local/sbin:/usr/sbin", "/")
//
// # Words
//
// A name is what the caller passes: slash-separated, absolute or not, both
// meaning "from the root". A path is a canonical name: it starts with a slash
// and has no symlink, ".", ".." or doubled slash. The base is the last
// component, the one acted upon.
//
// # Bounds
//
// A name or link target longer than MaxName bytes fails with ENAMETOOLONG, more
// than MaxLinks symlinks or maxSteps components in one resolution fail with ELOOP.
//
// Mount points inside the root are crossed, and device nodes can be opened with
// OpenFile: ReadFile is the one that refuses them.
package inroot

import (
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// MaxName is the longest name or symlink target, in bytes (Linux's PATH_MAX).
	MaxName = 4096
	// MaxLinks is how many symlinks one resolution follows, as in Linux
	// (MAXSYMLINKS, include/linux/namei.h); FreeBSD's kernel stops at 32.
	MaxLinks = 40
	// maxSteps bounds the directories opened in one resolution: ".." walks again
	// from the root, so that work could grow with the square of the depth.
	maxSteps = 16384
)

// Root is a directory in which names are resolved. It holds the directory's
// descriptor until Close, so a process that calls jail_attach(2), which refuses
// processes with an open directory, must close its Roots first. It is safe for
// use by many goroutines at once, except that Close must come last.
type Root struct {
	dir *os.File
}

// Open opens the directory dir, which the caller trusts: links in it are
// followed by the kernel.
func Open(dir string) (*Root, error) {
	fd, err := openat(unix.AT_FDCWD, dir, openDir&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{dir: os.NewFile(uintptr(fd), dir)}, nil
}

// New makes a Root of an open directory, which it takes over: Close closes it.
func New(dir *os.File) *Root { return &Root{dir: dir} }

// Close gives up the directory. Closing twice returns os.ErrClosed.
func (r *Root) Close() error { return r.dir.Close() }

// Name is the name that Open was given.
func (r *Root) Name() string { return r.dir.Name() }

// File is the root directory itself. It belongs to the Root.
func (r *Root) File() *os.File { return r.dir }

// Parent resolves all of name but its base, and returns the open directory (for
// the *at system calls only; the caller closes it) and the base in it. The base
// may be missing, or be a symlink, and is "." where name ends in a slash, "." or "..".
func (r *Root) Parent(name string) (dir *os.File, base string, err error) {
	_, err = r.resolve("resolve", name, func(fd int, b string) (string, error) {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		dir, base = os.NewFile(uintptr(dup), name), b
		return "", nil
	})
	return dir, base, err
}

// Missing is asked when a component does not exist. parent is the directory it
// is missing from, path what its canonical path would be. It may make a
// directory base in parent and return "", or return the target of a symlink that
// the walk is then to follow as if base were it. Its error ends the walk.
type Missing func(parent int, base, path string) (link string, err error)

// OpenDir opens the directory name, following links, for the *at system calls
// only (it cannot be listed), and returns it with its canonical path. A nil
// missing means that an absent component is fs.ErrNotExist.
func (r *Root) OpenDir(name string, missing Missing) (dir *os.File, path string, err error) {
	w := walk{root: int(r.dir.Fd()), missing: missing}
	defer runtime.KeepAlive(r)
	defer w.close()
	err = w.run(name+"/.", func(fd int, base string) (string, error) {
		n, err := openat(fd, base, openDir, 0)
		if err == nil {
			dir = os.NewFile(uintptr(n), name)
		}
		return "", err
	})
	if err != nil {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return dir, w.path(""), nil
}

// resolve walks to name's last component and does act there. It returns the
// canonical path of what was acted upon, or "" when the kernel did the walk.
func (r *Root) resolve(op, name string, act action) (string, error) {
	defer runtime.KeepAlive(r)
	root := int(r.dir.Fd())
	done, err := fast(root, name, act)
	if done {
		if err != nil {
			err = &fs.PathError{Op: op, Path: name, Err: err}
		}
		return "", err
	}
	return r.walkTo(op, name, act)
}

// walkTo is resolve without the kernel's help: it knows the canonical path.
func (r *Root) walkTo(op, name string, act action) (string, error) {
	defer runtime.KeepAlive(r)
	w := walk{root: int(r.dir.Fd())}
	defer w.close()
	if err := w.run(name, act); err != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: err}
	}
	return w.path(w.base), nil
}

// fast lets the kernel resolve the parent directory where it can (openat2(2)),
// and reports whether act is done. If not, the walk by hand decides, and says
// what is wrong where something is.
func fast(root int, name string, act action) (done bool, err error) {
	i := strings.LastIndexByte(name, '/')
	base := name[i+1:]
	if base == "" || base == "." || base == ".." || len(name) > MaxName {
		return false, nil
	}
	dir := root
	if i > 0 {
		if dir, err = openInRoot(root, name[:i]); err != nil {
			return false, nil
		}
		defer unix.Close(dir)
	}
	link, err := act(dir, base)
	return link == "", err
}
