package zfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
)

// ZFS does things to datasets. The zero value is ready to use, by many
// goroutines at once; do not copy it after that.
type ZFS struct {
	// Run runs zfs(8) with args. It fills stdout and may read stdin, either of
	// which may be nil. When it is set everything goes through it, nothing by
	// ioctl(2). Nil stands for [Exec] and the ioctls.
	Run func(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error

	version func() (uint32, error) // of the kernel's ioctls; nil: the kernel is asked

	once sync.Once
	dev  *device // nil if the kernel's ioctls are not the ones known here
}

// Error is something that could not be done to a dataset.
type Error struct {
	Op      string        // as zfs(8) calls it: "create", "clone", ...
	Dataset string        // what it was done to
	Errno   syscall.Errno // what errors.Is compares; 0 if zfs(8) did not let it be known
	Msg     string        // what zfs(8) said, or what the number means here
	Err     error         // what running zfs(8) gave; nil after an ioctl
}

func (e *Error) Error() string {
	s := "zfs " + e.Op + " " + e.Dataset
	switch {
	case e.Msg != "":
		s += ": " + e.Msg
	case e.Err != nil:
		s += ": " + e.Err.Error()
	}
	if e.Errno != 0 {
		s += ": " + errnoText(e.Errno)
	}
	return s
}

func (e *Error) Unwrap() []error {
	var errs []error
	if e.Errno != 0 {
		errs = append(errs, e.Errno)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// Create makes a file system. Its parent must exist.
func (z *ZFS) Create(ctx context.Context, name string, props Props) error {
	if err := checkName("create", name, false); err != nil {
		return err
	}
	if enc, ok := props.encode(); ok {
		if done, err := z.ioctl(ctx, "create", name, iocCreate, name, createArgs(enc)); done {
			return err
		}
	}
	args := append([]string{"create", "-u"}, props.options()...)
	return z.run(ctx, "create", name, append(args, name)...)
}

// Clone makes the file system name out of a snapshot. Without props it is one
// atomic act.
func (z *ZFS) Clone(ctx context.Context, snapshot, name string, props Props) error {
	if err := errors.Join(checkName("clone", snapshot, true), checkName("clone", name, false)); err != nil {
		return err
	}
	if enc, ok := props.encode(); ok {
		if done, err := z.ioctl(ctx, "clone", name, iocClone, name, cloneArgs(snapshot, enc)); done {
			return err
		}
	}
	args := []string{"clone"}
	if _, set := props["canmount"]; !set {
		args = append(args, "-o", "canmount=noauto") // zfs(8) would mount it
	}
	args = append(args, props.options()...)
	return z.run(ctx, "clone", name, append(args, snapshot, name)...)
}

// Snapshot makes a snapshot, named "file system@snapshot".
func (z *ZFS) Snapshot(ctx context.Context, name string) error {
	if err := checkName("snapshot", name, true); err != nil {
		return err
	}
	if done, err := z.ioctl(ctx, "snapshot", name, iocSnapshot, pool(name), snapsArgs(name)); done {
		return err
	}
	return z.run(ctx, "snapshot", name, "snapshot", name)
}

// Destroy destroys a file system or a snapshot, nothing else with it. One that
// is mounted, or has snapshots, children or clones, gives EBUSY.
func (z *ZFS) Destroy(ctx context.Context, name string) error {
	snapshot := strings.Contains(name, "@")
	if err := checkName("destroy", name, snapshot); err != nil {
		return err
	}
	if snapshot {
		// The ioctl takes one that is not there for destroyed.
		if _, err := z.Get(ctx, name); err != nil {
			return asOp("destroy", err)
		}
		if done, err := z.ioctl(ctx, "destroy", name, iocDestroySnaps, pool(name), snapsArgs(name)); done {
			return err
		}
		return z.run(ctx, "destroy", name, "destroy", name)
	}
	if done, err := z.ioctl(ctx, "destroy", name, iocDestroy, name, nil); done {
		return err
	}
	// zfs(8) would unmount it first.
	props, err := z.Props(ctx, name, "mounted")
	if err != nil {
		return asOp("destroy", err)
	}
	if props["mounted"] == "yes" {
		return &Error{Op: "destroy", Dataset: name, Errno: syscall.EBUSY, Msg: "it is mounted"}
	}
	return z.run(ctx, "destroy", name, "destroy", name)
}

// asOp gives an error of a preparation the name of what it was for.
func asOp(op string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		c := *e
		c.Op = op
		return &c
	}
	return err
}

// Get describes one dataset.
func (z *ZFS) Get(ctx context.Context, name string) (Dataset, error) {
	if err := checkName("get", name, strings.Contains(name, "@")); err != nil {
		return Dataset{}, err
	}
	if done, d, err := z.stat(ctx, name); done {
		return d, err
	}
	list, err := z.list(ctx, name, "-d", "0", "-t", "all")
	if err != nil {
		return Dataset{}, asOp("get", err)
	}
	if len(list) != 1 {
		return Dataset{}, &Error{Op: "get", Dataset: name, Msg: fmt.Sprintf("zfs list gave %d lines", len(list))}
	}
	return list[0], nil
}

// Exists reports whether there is such a dataset.
func (z *ZFS) Exists(ctx context.Context, name string) (bool, error) {
	_, err := z.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// List describes name and everything below it, snapshots included, in the order
// of zfs list. It costs milliseconds for each: not for the way of a start.
func (z *ZFS) List(ctx context.Context, name string) ([]Dataset, error) {
	if err := checkName("list", name, false); err != nil {
		return nil, err
	}
	return z.list(ctx, name, "-r", "-t", "all")
}

// Props reads properties of a dataset as zfs get -p prints them.
func (z *ZFS) Props(ctx context.Context, name string, props ...string) (Props, error) {
	if err := checkName("get", name, strings.Contains(name, "@")); err != nil {
		return nil, err
	}
	out, err := z.output(ctx, "get", name, "get", "-Hp", "-o", "property,value", strings.Join(props, ","), name)
	if err != nil {
		return nil, err
	}
	return parseProps(out)
}

// Set changes properties.
func (z *ZFS) Set(ctx context.Context, name string, props Props) error {
	if err := checkName("set", name, strings.Contains(name, "@")); err != nil || len(props) == 0 {
		return err
	}
	return z.run(ctx, "set", name, append(append([]string{"set"}, props.assignments()...), name)...)
}

// Rename gives a file system or a snapshot another name in the same pool. A
// file system is not mounted or unmounted by it.
func (z *ZFS) Rename(ctx context.Context, from, to string) error {
	snapshot := strings.Contains(from, "@")
	if err := errors.Join(checkName("rename", from, snapshot), checkName("rename", to, snapshot)); err != nil {
		return err
	}
	if snapshot {
		return z.run(ctx, "rename", from, "rename", from, to)
	}
	return z.run(ctx, "rename", from, "rename", "-u", from, to)
}

// Rollback makes a file system what it was at its newest snapshot.
func (z *ZFS) Rollback(ctx context.Context, snapshot string) error {
	if err := checkName("rollback", snapshot, true); err != nil {
		return err
	}
	return z.run(ctx, "rollback", snapshot, "rollback", snapshot)
}

// Send writes the stream of a snapshot, or with from (another snapshot, or "")
// only what has changed since.
func (z *ZFS) Send(ctx context.Context, w io.Writer, snapshot, from string) error {
	if err := checkName("send", snapshot, true); err != nil {
		return err
	}
	args := []string{"send"}
	if from != "" {
		if err := checkName("send", from, true); err != nil {
			return err
		}
		args = append(args, "-i", from)
	}
	return z.stream(ctx, "send", snapshot, nil, w, append(args, snapshot)...)
}

// Receive makes a dataset, which is not mounted, from a stream.
func (z *ZFS) Receive(ctx context.Context, r io.Reader, name string) error {
	if err := checkName("receive", name, strings.Contains(name, "@")); err != nil {
		return err
	}
	return z.stream(ctx, "receive", name, r, nil, "receive", "-u", name)
}

// Jail hands a dataset, whose property "jailed" is on, to a jail. The jail needs
// allow.mount, allow.mount.zfs and enforce_statfs below 2.
func (z *ZFS) Jail(ctx context.Context, jid int, dataset string) error {
	return z.jail(ctx, "jail", jid, dataset)
}

// Unjail takes a dataset back from a jail. Do that before the jail is removed.
func (z *ZFS) Unjail(ctx context.Context, jid int, dataset string) error {
	return z.jail(ctx, "unjail", jid, dataset)
}

func (z *ZFS) jail(ctx context.Context, op string, jid int, dataset string) error {
	if err := checkName(op, dataset, false); err != nil {
		return err
	}
	return z.run(ctx, op, dataset, op, fmt.Sprint(jid), dataset)
}

// Close gives back the descriptor of /dev/zfs, if one was opened. The ZFS goes
// on with zfs(8).
func (z *ZFS) Close() error {
	z.once.Do(func() {})
	d := z.dev
	z.dev = nil
	if d == nil {
		return nil
	}
	return d.close()
}

// pool returns the pool that a dataset belongs to.
func pool(name string) string {
	if i := strings.IndexAny(name, "/@"); i >= 0 {
		return name[:i]
	}
	return name
}

// maxName is ZFS_MAX_DATASET_NAME_LEN less the NUL.
const maxName = 255

// checkName refuses what is no name of a dataset, before it can be taken for an
// option or cut off. zfs(8), "ZFS NAMING"; zcommon/zfs_namecheck.c.
func checkName(op, name string, snapshot bool) error {
	fail := func(why string) error {
		return &Error{Op: op, Dataset: fmt.Sprintf("%q", name), Errno: syscall.EINVAL, Msg: why}
	}
	file, snap, at := strings.Cut(name, "@")
	switch {
	case len(name) > maxName:
		return fail("the name is longer than 255 bytes")
	case at != snapshot && snapshot:
		return fail("not the name of a snapshot")
	case at != snapshot:
		return fail("not the name of a file system")
	case at && !validPart(snap):
		return fail("not a name of a snapshot")
	}
	for i, part := range strings.Split(file, "/") {
		if !validPart(part) || i == 0 && !isLetter(part[0]) {
			return fail("not a name of a dataset")
		}
	}
	return nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func validPart(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (c < '0' || c > '9') && !strings.ContainsRune("-_.: ", rune(c)) {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}
