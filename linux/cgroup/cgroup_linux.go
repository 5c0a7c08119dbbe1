package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Group is a directory of the cgroup2 hierarchy. Its methods may be used by
// several goroutines at once, also after Close, except FD. A group that was
// removed meanwhile is one without processes.
type Group struct {
	path string
	dir  int
}

// Find returns the directory below which this process may make groups: its own
// group when that was delegated to it (as systemd's Delegate=yes does) or the one
// above (with DelegateSubgroup=), else the root of the hierarchy as it is mounted. The error matches
// errors.ErrUnsupported when there is none it can write to.
func Find() (string, error) {
	mi, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	defer mi.Close()
	dir, root, err := mountPoint(mi)
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	if dir == "" {
		return "", fmt.Errorf("find cgroup2: not mounted: %w", errors.ErrUnsupported)
	}
	cg, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	defer cg.Close()
	own, err := ownGroup(cg)
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	if rel, err := filepath.Rel(root, own); err == nil && filepath.IsLocal(rel) && rel != "." {
		if d := filepath.Join(dir, rel); delegated(d) {
			dir = d
		} else if d := filepath.Dir(d); d != dir && delegated(d) {
			dir = d
		}
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return "", fmt.Errorf("find cgroup2: %s: %w (%w)", dir, errors.ErrUnsupported, err)
	}
	return dir, nil
}

// delegated tells whether systemd marked the group as its owner's to divide
// (systemd.resource-control(5), Delegate=): root's by one name, a user's by the other.
func delegated(dir string) bool {
	var b [8]byte
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, name, b[:]); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}

// Make makes the group, whose parent must exist. The error matches fs.ErrExist
// when it exists already.
func Make(path string) (*Group, error) {
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	g, err := Open(path)
	if err != nil {
		_ = unix.Rmdir(path)
	}
	return g, err
}

// Open opens a group that exists. The error matches errors.ErrUnsupported when
// path is a directory of something else than cgroup2.
func Open(path string) (*Group, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		unix.Close(fd)
		return nil, fmt.Errorf("open cgroup %s: not a cgroup2 directory: %w", path, errors.ErrUnsupported)
	}
	return &Group{path: path, dir: fd}, nil
}

// FD is the group's descriptor for SysProcAttr.CgroupFD and clone3(2). It
// stays the group's.
func (g *Group) FD() int { return g.dir }

// Members lists the processes of the group and of the groups below it, by
// their pids in the caller's pid namespace.
func (g *Group) Members() ([]int, error) {
	all, err := g.read("cgroup.procs")
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("members of cgroup %s: %w", g.path, err)
	}
	out, err := pids(all)
	if err != nil {
		return nil, fmt.Errorf("members of cgroup %s: %w", g.path, err)
	}
	subs, err := g.groups()
	if err != nil {
		return nil, fmt.Errorf("members of cgroup %s: %w", g.path, err)
	}
	for _, name := range subs {
		sub, err := Open(filepath.Join(g.path, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		more, err := sub.Members()
		_ = sub.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// groups names the groups directly below.
func (g *Group) groups() ([]string, error) {
	var st unix.Stat_t
	if err := unix.Stat(g.path, &st); err != nil {
		return nil, unlessGone(err)
	}
	if st.Nlink <= 2 {
		return nil, nil // kernfs counts sub-directories as links
	}
	es, err := os.ReadDir(g.path)
	if err != nil {
		return nil, unlessGone(err)
	}
	var out []string
	for _, e := range es {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Populated tells whether a process of the group or of a group below it lives.
func (g *Group) Populated() (bool, error) {
	s, err := g.read("cgroup.events")
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cgroup %s: %w", g.path, err)
	}
	return populated(s)
}

// Kill sends SIGKILL to every process of the group and of the groups below it,
// those that fork meanwhile included. The error matches errors.ErrUnsupported
// on a kernel without cgroup.kill (before Linux 5.14).
func (g *Group) Kill() error {
	fd, err := unix.Open(g.file("cgroup.kill"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		if unix.Access(g.path, unix.F_OK) != nil {
			return nil
		}
		return fmt.Errorf("kill cgroup %s: %w", g.path, errors.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("1")); err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.path, err)
	}
	return nil
}

// Remove waits until the group is empty and removes it and the groups below
// it. Removing a group that is gone succeeds. The Group is of no use
// afterwards but must still be closed.
func (g *Group) Remove(ctx context.Context) error {
	for {
		err := g.rmdir()
		if !errors.Is(err, unix.EBUSY) {
			if err != nil {
				return fmt.Errorf("remove cgroup %s: %w", g.path, err)
			}
			return nil
		}
		if err := g.WaitEmpty(ctx); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		}
	}
}

// rmdir removes the group, groups below first.
func (g *Group) rmdir() error {
	err := unix.Rmdir(g.path)
	if err != unix.EBUSY {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	subs, err := g.groups()
	if err != nil {
		return err
	}
	for _, name := range subs {
		sub, err := Open(filepath.Join(g.path, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = sub.rmdir()
		_ = sub.Close()
		if err != nil {
			return err
		}
	}
	if err := unix.Rmdir(g.path); err != unix.ENOENT {
		return err
	}
	return nil
}

// Close closes the group's descriptor. The group and its processes stay. It is
// to be called once.
func (g *Group) Close() error { return unix.Close(g.dir) }

// file names one of the group's files: by path and not relative to the
// descriptor, whose number may be somebody else's after Close.
func (g *Group) file(name string) string { return g.path + "/" + name }

// read returns the content of one of the group's files.
func (g *Group) read(name string) (string, error) {
	fd, err := unix.Open(g.file(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readAll(fd)
}

func readAll(fd int) (string, error) {
	var out []byte
	var buf [4096]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", err
		case n == 0:
			return string(out), nil
		}
		out = append(out, buf[:n]...)
	}
}

// gone tells the errors of a group that was removed under the reader.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT)
}

func unlessGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}
