// Package outfile writes a file whose name the user gave, at the cost of nothing
// that was there. What is written becomes the file of that name when it is whole,
// by rename(2); what fails leaves what the name led to as it was. A device, a FIFO
// or whatever else is no regular file is opened and written to, as open(2) would.
//
//	f, err := outfile.Create("images.tar")
//	if err != nil {
//		return err
//	}
//	return f.Finish(write(f))
//
// A file that cannot be replaced, as in a directory that one may not write, is not
// written: to redirect standard output into it is what does that. A program that is
// killed leaves a file .new-* beside the one that was named; see Interruptible.
package outfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// File is open for writing. It is for one goroutine.
type File struct {
	*os.File
	target string // what it becomes; "" if it is what was named
}

// Create opens what will be the file called name: a new one, which gets the mode of
// the regular file that it replaces, and its owner where that may be given away, or
// else the mode that any new file has. Symbolic links are followed, and stay.
func Create(name string) (*File, error) {
	old, err := open(name)
	if errors.Is(err, fs.ErrNotExist) {
		dir, base := filepath.Split(name) // does not clean: what .. means after a link is the kernel's to say
		if base == "" {
			return nil, err
		}
		return draft(dir, base, 0o666)
	}
	if err != nil {
		return nil, err
	}
	info, err := old.Stat()
	if err != nil {
		return nil, errors.Join(err, old.Close())
	}
	target, ok := whereIs(name, info)
	if !ok {
		return &File{File: old}, nil
	}
	old.Close() // nothing was written: it was to be seen that one might
	dir, base := filepath.Split(target)
	f, err := draft(dir, base, info.Mode().Perm())
	if err != nil {
		return nil, err
	}
	f.resemble(info)
	return f, nil
}

// open opens what there is of that name. A link that leads nowhere is followed by
// making an empty file there: whether it may be is what the kernel knows (sysctl
// fs.protected_symlinks of Linux), and a look of ours at the link would not ask it.
func open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if _, notLink := os.Readlink(name); notLink != nil {
		return nil, err
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
}

// whereIs finds the name, free of links, of a file that was opened, if it is a
// regular one and has such a name: one that was opened as /dev/stdout may have none.
func whereIs(name string, opened fs.FileInfo) (string, bool) {
	if !opened.Mode().IsRegular() {
		return "", false
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", false
	}
	there, err := os.Lstat(real)
	return real, err == nil && os.SameFile(opened, there)
}

// draft makes the file that will be base in dir, which is empty or ends in a slash.
// It is not os.CreateTemp, which makes it its owner's alone: the umask, which decides
// what others may, can be told only by changing it, for all threads.
func draft(dir, base string, mode fs.FileMode) (*File, error) {
	f, err := os.OpenFile(fmt.Sprintf("%s.new-%016x", dir, rand.Uint64()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, fmt.Errorf("%s%s: make a file beside it: %w", dir, base, err)
	}
	return &File{f, dir + base}, nil
}

// resemble gives the file owner and mode of the one it will replace, as far as may
// be: only root gives a file away, and some file systems have one mode for all.
// What does not succeed leaves fewer with access, not more.
func (f *File) resemble(old fs.FileInfo) {
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
	_ = f.Chmod(old.Mode().Perm())
}

// Finish closes the file, which without err, and once it is on disk, becomes the one
// that was named. Otherwise it is removed, and nothing has changed. What was opened
// itself, a device or a FIFO, is only closed. Finish returns err, or what kept the
// file from being finished.
func (f *File) Finish(err error) error {
	if f.target == "" {
		return errors.Join(err, f.Close())
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Is says that the file at path is this one or the one that it replaces: what must
// not be in an archive of the directory that the archive itself is in.
func (f *File) Is(path string) bool {
	base := filepath.Base(path)
	for _, name := range []string{f.Name(), f.target} {
		if f.target == "" || base != filepath.Base(name) { // most paths cost no system call
			continue
		}
		here, err := os.Lstat(path)
		there, thereErr := os.Lstat(name)
		if err == nil && thereErr == nil && os.SameFile(here, there) {
			return true
		}
	}
	return false
}
