package ns

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Overlay makes a tree of layers.
func Overlay(l Layers, a Attr) (*Tree, error) {
	if len(l.Lower) == 0 {
		return nil, errors.New("overlay: no lower layer")
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, l); errors.Is(err, errOneByOne) {
		return classic(l, a)
	} else if err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); errors.Is(err, unix.EINVAL) {
		// Before Linux 6.5 options are only looked at here (fs/fs_context.c,
		// legacy_parse_param), and this one is not known.
		t, cerr := classic(l, a)
		if cerr != nil {
			return nil, errors.Join(fmt.Errorf("mount overlay: %w%s", err, complaint(fs)), cerr)
		}
		return t, nil
	} else if err != nil {
		return nil, fmt.Errorf("mount overlay: %w%s", err, complaint(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(a))
	if err != nil {
		return nil, fmt.Errorf("fsmount overlay: %w", err)
	}
	return &Tree{fd}, nil
}

// configure names the layers one by one ("lowerdir+", Linux 6.5), so that there
// may be as many as the kernel takes (500), and names need no escapes. Before,
// the list is one option, of at most 255 bytes, and mount(2) has to do.
func configure(fs int, l Layers) error {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	set := func(key, dir string) error {
		value := dir
		if len(dir) > maxValue || !filepath.IsAbs(dir) {
			fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("overlay %s %s: %w", key, dir, err)
			}
			open = append(open, fd)
			value = "/proc/self/fd/" + strconv.Itoa(fd)
		}
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return fmt.Errorf("overlay %s %s: %w%s", key, dir, err, complaint(fs))
		}
		return nil
	}
	for _, dir := range l.Lower {
		if err := set("lowerdir+", dir); errors.Is(err, unix.EINVAL) {
			return errors.Join(errOneByOne, err)
		} else if err != nil {
			return err
		}
	}
	if l.Upper == "" {
		return nil
	}
	if err := set("upperdir", l.Upper); err != nil {
		return err
	}
	if err := set("workdir", l.Work); err != nil || !l.Volatile {
		return err
	}
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return fmt.Errorf("overlay volatile: %w%s", err, complaint(fs))
	}
	return nil
}

// maxValue is how long a value of fsconfig(2) may be, in bytes (fs/fsopen.c).
const maxValue = 255

// complaint returns what the file system has to say about an error; fsopen(2).
func complaint(fs int) string {
	var b [512]byte
	if n, err := unix.Read(fs, b[:]); err == nil && n > 2 {
		return " (" + string(b[2:n]) + ")"
	}
	return ""
}

// errOneByOne is that this kernel does not take layers one by one.
var errOneByOne = errors.New("overlay: no option lowerdir+")

// classic makes the tree by mount(2), whose options end at a page: the layers
// are named by descriptors, which makes 17 bytes each. It needs a mount point for
// a moment, so the caller's mounts must be private.
func classic(l Layers, a Attr) (*Tree, error) {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	name := func(dir string) (string, error) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("overlay %s: %w", dir, err)
		}
		open = append(open, fd)
		return "/proc/self/fd/" + strconv.Itoa(fd), nil
	}
	opts, err := classicOptions(l, name)
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("overlay", l.Lower[0], "overlay", 0, opts); err != nil {
		return nil, fmt.Errorf("mount overlay: %w", err)
	}
	t, err := Clone(unix.AT_FDCWD, l.Lower[0])
	if err == nil {
		err = t.Set(a)
	}
	return t, errors.Join(err, unix.Unmount(l.Lower[0], unix.MNT_DETACH))
}

func classicOptions(l Layers, name func(dir string) (string, error)) (string, error) {
	lower := make([]string, len(l.Lower))
	for i, dir := range l.Lower {
		var err error
		if lower[i], err = name(dir); err != nil {
			return "", err
		}
	}
	opts := "lowerdir=" + strings.Join(lower, ":")
	if l.Upper == "" {
		return opts, nil
	}
	upper, err := name(l.Upper)
	if err != nil {
		return "", err
	}
	work, err := name(l.Work)
	if err != nil {
		return "", err
	}
	opts += ",upperdir=" + upper + ",workdir=" + work
	if l.Volatile {
		opts += ",volatile"
	}
	return opts, nil
}
