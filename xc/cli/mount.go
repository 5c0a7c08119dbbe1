package cli

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
)

// mounts reads -v, --mount and --tmpfs, and opens the sources of binds, so that
// the engine can make sure that it mounts what the caller sees. The files are the
// caller's to close.
func mounts(volumes, long, tmpfs []string) (list []api.Mount, closeAll func(), err error) {
	closeAll = func() {
		for _, m := range list {
			if m.Opened != nil {
				m.Opened.Close()
			}
		}
	}
	for _, kind := range []struct {
		flag   string
		values []string
		parse  func(string) (api.Mount, error)
	}{{"-v", volumes, volumeMount}, {"--mount", long, longMount}, {"--tmpfs", tmpfs, tmpfsMount}} {
		for _, v := range kind.values {
			m, err := kind.parse(v)
			if err == nil {
				err = openBind(&m)
			}
			if err != nil {
				return list, closeAll, fmt.Errorf("%s %s: %w", kind.flag, v, err)
			}
			list = append(list, m)
		}
	}
	return list, closeAll, nil
}

// openBind makes the source of a bind absolute and opens it, only to point at
// it: neither permission to read is needed, nor is a device or a fifo opened by it.
func openBind(m *api.Mount) error {
	if m.Type != api.MountBind {
		return nil
	}
	abs, err := filepath.Abs(m.Source)
	if err != nil {
		return err
	}
	m.Source = abs
	fd, err := unix.Open(abs, openPath|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: abs, Err: err}
	}
	m.Opened = os.NewFile(uintptr(fd), abs)
	return nil
}

// volumeMount reads [SOURCE:]DESTINATION[:OPTION,...]. A source that is no path
// is the name of a volume.
func volumeMount(v string) (api.Mount, error) {
	parts := strings.Split(v, ":")
	m := api.Mount{Type: api.MountVolume}
	switch len(parts) {
	case 1:
		if !strings.HasPrefix(v, "/") {
			return m, fmt.Errorf("expected an absolute path, or a volume and a place for it: NAME:DESTINATION")
		}
		m.Destination = parts[0]
	case 2, 3:
		m.Source, m.Destination = parts[0], parts[1]
		if m.Source == "" {
			return m, fmt.Errorf("the source is empty")
		}
		if strings.ContainsRune(m.Source, '/') || m.Source == "." || m.Source == ".." {
			m.Type = api.MountBind
		}
	default:
		return m, fmt.Errorf("expected DESTINATION, SOURCE:DESTINATION, or SOURCE:DESTINATION:OPTIONS")
	}
	if len(parts) < 3 {
		return m, nil
	}
	for o := range strings.SplitSeq(parts[2], ",") {
		ok := mountOption(&m, o)
		if o == "nocopy" && m.Type == api.MountVolume {
			m.NoCopy, ok = true, true
		}
		if !ok {
			return m, fmt.Errorf("unknown option %q: there are ro, rw, nosuid, noexec, suid, exec, and nocopy for volumes", o)
		}
	}
	return m, nil
}

// mountOption sets an option that all mounts have, as mount(8) calls it.
func mountOption(m *api.Mount, o string) bool {
	switch o {
	case "ro", "rw":
		m.ReadOnly = o == "ro"
	case "nosuid", "suid":
		m.NoSUID = o == "nosuid"
	case "noexec", "exec":
		m.NoExec = o == "noexec"
	default:
		return false
	}
	return true
}

// tmpfsMount reads DESTINATION[:OPTION,...]. As with Docker nothing in it can be
// executed, nor has set-user-ID an effect, unless the options say so.
func tmpfsMount(v string) (api.Mount, error) {
	m := api.Mount{Type: api.MountTmpfs, NoSUID: true, NoExec: true}
	dst, options, given := strings.Cut(v, ":")
	m.Destination = dst
	if !given {
		return m, nil
	}
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		if o == "nodev" || mountOption(&m, o) { // devices never have an effect
			continue
		}
		known, err := tmpfsOption(&m, key, value)
		if err != nil {
			return m, err
		}
		if !known {
			return m, fmt.Errorf("unknown option %q: there are size=, mode=, uid=, gid=, ro, rw, suid, nosuid, exec and noexec", o)
		}
	}
	return m, nil
}

// tmpfsOption sets an option of tmpfs.
func tmpfsOption(m *api.Mount, key, value string) (known bool, err error) {
	number := func(base int, to *uint32) error {
		n, err := strconv.ParseUint(value, base, 32)
		*to = uint32(n)
		if err != nil {
			return fmt.Errorf("%s=%s: not a number", key, value)
		}
		return nil
	}
	switch key {
	case "size":
		m.Size, err = byteSize(value)
	case "mode":
		err = number(8, &m.Mode)
	case "uid":
		err = number(10, &m.UID)
	case "gid":
		err = number(10, &m.GID)
	default:
		return false, nil
	}
	return true, err
}

// byteSize reads a size in bytes, or with k, m, g or t (powers of 1024).
func byteSize(s string) (int64, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(s), "b"), "i")
	shift := 0
	if i := len(text) - 1; i >= 0 {
		if p := strings.IndexByte("kmgt", text[i]); p >= 0 {
			text, shift = text[:i], 10*(p+1)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("size %q: expected bytes, or a number with k, m, g or t", s)
	}
	return n << shift, nil
}

// mountKeys are the keys of --mount, as Docker and podman call them, and ours.
const mountKeys = "type, source, target, readonly, nosuid, noexec, subpath, nocopy; for tmpfs size, mode, uid, gid"

// longMount reads TYPE and the rest as KEY[=VALUE],..., quoted as in CSV.
func longMount(v string) (api.Mount, error) {
	fields, err := csv.NewReader(strings.NewReader(v)).Read()
	if err != nil {
		return api.Mount{}, fmt.Errorf("not KEY=VALUE,KEY=VALUE,...: %w", err)
	}
	m := api.Mount{Type: api.MountVolume} // Docker's default
	for _, f := range fields {
		if key, value, _ := strings.Cut(f, "="); key == "type" {
			m.Type = value
		}
	}
	switch m.Type {
	case "nullfs": // what FreeBSD calls it
		m.Type = api.MountBind
	case api.MountTmpfs:
		m.NoSUID, m.NoExec = true, true
	case api.MountBind, api.MountVolume, api.MountZFS:
	default:
		return m, fmt.Errorf("type %q is none of bind (or nullfs), volume, tmpfs and zfs", m.Type)
	}
	for _, f := range fields {
		if err := longOption(&m, f); err != nil {
			return m, err
		}
	}
	if m.Destination == "" {
		return m, fmt.Errorf("the target is missing")
	}
	if m.Source == "" && (m.Type == api.MountBind || m.Type == api.MountZFS) {
		return m, fmt.Errorf("the source is missing")
	}
	return m, nil
}

// longOption sets what one key of --mount says.
func longOption(m *api.Mount, field string) error {
	key, value, given := strings.Cut(field, "=")
	truth := func(to *bool, yes bool) error {
		on := true
		if given {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return fmt.Errorf("%s: neither true nor false", field)
			}
		}
		*to = on == yes
		return nil
	}
	switch key {
	case "type":
		return nil
	case "source", "src":
		m.Source = value
		return nil
	case "target", "destination", "dst":
		m.Destination = value
		return nil
	case "readonly", "ro":
		return truth(&m.ReadOnly, true)
	case "rw":
		return truth(&m.ReadOnly, false)
	case "nosuid", "suid":
		return truth(&m.NoSUID, key == "nosuid")
	case "noexec", "exec":
		return truth(&m.NoExec, key == "noexec")
	case "subpath", "volume-subpath":
		m.Subpath = value
		return nil
	case "nocopy", "volume-nocopy":
		return truth(&m.NoCopy, true)
	}
	known, err := tmpfsOption(m, strings.TrimPrefix(key, "tmpfs-"), value)
	if err == nil && !known {
		err = fmt.Errorf("unknown key %q: there are %s", key, mountKeys)
	}
	return err
}
