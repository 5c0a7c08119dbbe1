package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
)

// mountStep mounts a root and what belongs into it: devices, volumes, then what
// Linux programs expect. The root is in a directory of ours, so everything that
// is mounted below it is ours to unmount, wherever links in it have led to.
func (h *Host) mountStep(s Spec, o jailOptions, root string) site.Step {
	return step(kindMounts, thing{Path: root}, func(context.Context) error {
		s, closeOwn, err := openOwn(s)
		if err != nil {
			return err
		}
		defer closeOwn()
		if h.mountsRoot(s) {
			if err := h.mountRoot(s, o, root); err != nil {
				return err
			}
		}
		r, err := inroot.Open(root)
		if err != nil {
			return err
		}
		defer r.Close()
		for _, m := range inside(s, o, h.ruleset(s, o)) {
			if err := m.mount(r, root); err != nil {
				return fmt.Errorf("mount on %s: %w", m.Path, err)
			}
		}
		return nil
	})
}

// openOwn opens the files of the engine's own among the mounts.
func openOwn(s Spec) (opened Spec, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	s.Mounts = slices.Clone(s.Mounts)
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.File != nil || m.Tmpfs != nil || m.Dataset != "" {
			continue
		}
		if m.File, err = OpenSource(m.Source); err != nil {
			closeAll()
			return s, func() {}, fmt.Errorf("mount on %s: %w", m.Destination, err)
		}
		files = append(files, m.File)
	}
	return s, closeAll, nil
}

// insider is a mount inside a root; Path is the name in there.
type insider struct {
	mount.Entry
	src *os.File // nullfs: what must be mounted
}

// inside lists what is mounted in a root, in order.
func inside(s Spec, o jailOptions, ruleset string) []insider {
	list := []insider{
		{Entry: mount.Entry{Type: "devfs", Path: "/dev", Options: []string{ruleset}}},
		{Entry: mount.Entry{Type: "fdescfs", Path: "/dev/fd", Options: fdescOptions(s)}},
	}
	for _, m := range s.Mounts {
		list = append(list, insider{m.entry(), m.File})
	}
	if o.procfs && !s.Linux {
		list = append(list, insider{Entry: mount.Entry{Type: "procfs", Path: "/proc"}})
	}
	if s.Linux {
		list = append(list,
			insider{Entry: mount.Entry{Type: "linprocfs", Path: "/proc"}},
			insider{Entry: mount.Entry{Type: "linsysfs", Path: "/sys"}},
			insider{Entry: mount.Entry{Type: "tmpfs", Path: "/dev/shm", Options: []string{"mode=1777"}}})
	}
	return list
}

// entry is what mount(8) would be told.
func (m Mount) entry() mount.Entry {
	e := mount.Entry{Type: "nullfs", From: m.Source, Path: m.Destination}
	if m.ReadOnly {
		e.Options = append(e.Options, "ro")
	}
	if m.NoSUID {
		e.Options = append(e.Options, "nosuid")
	}
	if m.NoExec {
		e.Options = append(e.Options, "noexec")
	}
	switch t := m.Tmpfs; {
	case t != nil:
		e.Type, e.From = "tmpfs", "tmpfs"
		e.Options = append(e.Options, fmt.Sprintf("mode=%o", t.Mode), fmt.Sprintf("uid=%d", t.UID), fmt.Sprintf("gid=%d", t.GID))
		if t.Size > 0 {
			e.Options = append(e.Options, fmt.Sprintf("size=%d", t.Size))
		}
	case m.Dataset != "":
		e.Type, e.From = "zfs", m.Dataset
	}
	return e
}

// mount mounts m where its path leads in the root. Nothing runs in there yet,
// so that the answer holds.
func (m insider) mount(r *inroot.Root, root string) error {
	if err := makePoint(r, m.Path, m.src); err != nil {
		return err
	}
	at, err := r.Look(m.Path)
	if err != nil {
		return err
	}
	e := m.Entry
	e.Path = filepath.Join(root, at)
	err = mount.Mount(e)
	if e.Type == "zfs" && errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("dataset %s is mounted elsewhere: unmount it there first: %w", e.From, err)
	}
	if err != nil || m.src == nil {
		return err
	}
	return sameFile(e, m.src)
}

// fdescOptions make /dev/fd name the files themselves for Linux programs.
func fdescOptions(s Spec) []string {
	if s.Linux {
		return []string{"linrdlnk"}
	}
	return nil
}

// mountRoot mounts the container's dataset, or the directory its root is.
func (h *Host) mountRoot(s Spec, o jailOptions, root string) error {
	e := mount.Entry{Type: "nullfs", From: s.Dir, Path: root}
	switch {
	case s.Dir != "":
	case h.datas != nil:
		there, err := h.rootMounted(s.ID)
		if there && s.ReadOnly {
			there, err = false, h.unmountRoot(s.ID)
		}
		if err != nil || there {
			return err
		}
		from, err := h.datas.Root(context.Background(), s.ID)
		if err != nil {
			return err
		}
		e = rootEntry(from, root)
	default:
		l, err := h.dirs.Layout(s.ID)
		if err != nil {
			return err
		}
		e.From = l.Dir
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if s.ReadOnly {
		return h.mountReadOnly(e, s, o)
	}
	return mount.Mount(e)
}

// mountReadOnly makes the mount points first: afterwards it is too late.
func (h *Host) mountReadOnly(e mount.Entry, s Spec, o jailOptions) error {
	if err := mount.Mount(e); err != nil {
		return err
	}
	err := makePoints(e.Path, s, o)
	if uerr := h.unmount(e.Path); err != nil || uerr != nil {
		return errors.Join(err, uerr)
	}
	e.Options = append(e.Options, "ro")
	return mount.Mount(e)
}

// makePoints makes the mount points of a root.
func makePoints(root string, s Spec, o jailOptions) error {
	r, err := inroot.Open(root)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, m := range inside(s, o, "") {
		if strings.HasPrefix(m.Path, "/dev/") {
			continue // in the devfs
		}
		if err := makePoint(r, m.Path, m.src); err != nil {
			return err
		}
	}
	return nil
}

// finishChain makes in the file system of a chain what nearly every container has
// something mounted on. A container then begins by writing nothing into its root:
// one that was written to is not unmounted before the pool is synced (zfs_umount,
// txg_wait_synced). What cannot be made here is made by the container that needs
// it, or told by it.
func (h *Host) finishChain(dir string) {
	r, err := inroot.Open(dir)
	if err != nil {
		return
	}
	defer r.Close()
	_ = r.MkdirAll("/dev", 0o755)
	for _, file := range h.cfg.RootFiles {
		if _, err := r.Stat(file); err != nil {
			_ = r.Touch(file, 0o644)
		}
	}
}

// makePoint makes a mount point of the kind of src: nullfs(5) covers a
// directory by a directory, a file by a file.
func makePoint(r *inroot.Root, dst string, src *os.File) error {
	if src != nil {
		info, err := src.Stat()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
		case mode.IsRegular():
			if _, err := r.Stat(dst); err == nil {
				return nil // may be read-only by now
			}
			return r.Touch(dst, 0o644)
		default:
			return fmt.Errorf("mount %s: %w: nullfs mounts directories and regular files; mount the directory it is in", dst, fs.ErrInvalid)
		}
	}
	if _, err := r.Stat(dst); err == nil {
		return nil // may be read-only by now
	}
	return r.MkdirAll(dst, 0o755)
}

// sameFile holds what was mounted against what the client opened. nullfs has
// the attributes of the file below, but for the device number; and the source's
// name must still lead to the very file.
func sameFile(e mount.Entry, src *os.File) error {
	var ours, theirs unix.Stat_t
	if err := unix.Lstat(e.Path, &ours); err != nil {
		return &fs.PathError{Op: "lstat", Path: e.Path, Err: err}
	}
	conn, err := src.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := conn.Control(func(fd uintptr) { serr = unix.Fstat(int(fd), &theirs) }); err != nil {
		return err
	}
	if serr != nil {
		return os.NewSyscallError("fstat", serr)
	}
	same := ours.Ino == theirs.Ino && ours.Gen == theirs.Gen && ours.Btim == theirs.Btim && ours.Uid == theirs.Uid && ours.Mode == theirs.Mode
	now, err := OpenSource(e.From)
	if err != nil {
		return err
	}
	defer now.Close()
	a, aerr := now.Stat()
	b, berr := src.Stat()
	if err := errors.Join(aerr, berr); err != nil {
		return err
	}
	if !same || !os.SameFile(a, b) {
		return fmt.Errorf("the source %s is not the file that was opened: %w", e.From, fs.ErrPermission)
	}
	return nil
}

// removeMounts unmounts a root of ours and what is mounted in it, newest first.
func (h *Host) removeMounts(_ context.Context, t thing) error {
	if !strings.HasPrefix(t.Path, h.cfg.StateDir+"/") {
		return fmt.Errorf("unmount %s: it is not below %s", t.Path, h.cfg.StateDir)
	}
	list, err := mount.List()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(list) {
		if m.Path == t.Path || strings.HasPrefix(m.Path, t.Path+"/") {
			if err := h.forceUnmount(m); err != nil {
				return err
			}
		}
	}
	if filepath.Dir(t.Path) != h.mountDir() {
		return nil
	}
	if err := os.Remove(t.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (h *Host) leftovers(ids map[string]bool) ([]string, error) {
	var left []string
	add := func(kind, name, id string) {
		if !ids[id] {
			left = append(left, kind+" "+name)
		}
	}
	for info, err := range jail.All() {
		if err != nil {
			return nil, err
		}
		if id, ok := strings.CutPrefix(info.Name, h.jailName("")); ok && !info.Dying {
			add("jail", info.Name, id)
		}
	}
	mounts, err := mount.List()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		rest, ok := strings.CutPrefix(m.Path, h.cfg.StateDir+"/")
		if ok && !strings.HasPrefix(m.Path, h.VolumesDir()+"/") { // a volume stays mounted
			add("mount", m.Path, idIn(rest))
		}
	}
	if err := errors.Join(h.leftInterfaces(ids, add), h.leftRedirections(add), h.leftDirs(add), h.leftRules(add)); err != nil {
		return nil, err
	}
	return left, h.leftRoots(add)
}

// idIn finds a container's id among the elements of a path: a root is mounted
// in a directory of that name, or is below one.
func idIn(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		if idRule.MatchString(part) {
			return part
		}
	}
	return ""
}

// leftRoots finds roots of containers.
func (h *Host) leftRoots(add func(kind, name, id string)) error {
	if h.datas == nil {
		roots, err := h.dirs.Roots()
		for _, id := range roots {
			add("root", id, id)
		}
		return err
	}
	list, err := h.zfs.List(context.Background(), h.cfg.ContainerDataset)
	if err != nil {
		return err
	}
	for _, d := range list {
		if id, ok := h.datas.RootID(d.Name); ok {
			add("dataset", d.Name, id)
		}
	}
	return nil
}
