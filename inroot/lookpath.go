package inroot

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// LookPath finds the program name as execvp(3) does in a chroot: in the
// directories of search (colon-separated, as PATH; an empty or relative one
// counts from cwd), or, where name has a slash, at name itself, from cwd. It
// returns an absolute name in the root, its links not resolved: programs such as
// busybox look at how they were called.
//
// The error is fs.ErrPermission where there is such a file but none that is
// regular and has an execute bit (a shell's 126), and fs.ErrNotExist where there
// is none (127); a search directory that cannot be looked into holds nothing.
func (r *Root) LookPath(name, search, cwd string) (string, error) {
	if name == "" {
		return "", &fs.PathError{Op: "exec", Path: name, Err: fs.ErrNotExist}
	}
	if strings.Contains(name, "/") {
		p := from(cwd, name)
		if err := r.executable(p); err != nil {
			return "", &fs.PathError{Op: "exec", Path: name, Err: err}
		}
		return p, nil
	}
	found := fs.ErrNotExist
	for dir := range strings.SplitSeq(search, ":") {
		p := from(cwd, dir+"/"+name)
		if dir == "" {
			p = from(cwd, name)
		}
		err := r.executable(p)
		if err == nil {
			return p, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			found = fs.ErrPermission
		}
	}
	return "", &fs.PathError{Op: "exec", Path: name, Err: found}
}

// executable says whether name leads to a regular file that somebody may execute.
func (r *Root) executable(name string) error {
	st, err := r.Stat(name)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG):
		return fs.ErrNotExist
	case err != nil:
		return errors.Unwrap(err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG, st.Mode&0o111 == 0:
		return fs.ErrPermission
	}
	return nil
}

// from makes name absolute. path.Clean is not used: "a/.." is not "." where a is
// a link.
func from(cwd, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return "/" + strings.Trim(cwd, "/") + "/" + name
}
