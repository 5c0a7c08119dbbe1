package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
)

// environment reads -e and --env-file: KEY=VALUE, or KEY for the value that it
// has here, if it has one. What comes later holds.
func environment(files, flags []string) ([]string, error) {
	var env []string
	for _, name := range files {
		list, err := envFile(name)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		env = append(env, list...)
	}
	for _, e := range flags {
		list, err := variable(e)
		if err != nil {
			return nil, fmt.Errorf("--env: %w", err)
		}
		env = append(env, list...)
	}
	return env, nil
}

func variable(e string) ([]string, error) {
	key, _, given := strings.Cut(e, "=")
	if key == "" || strings.ContainsAny(key, " \t\x00") {
		return nil, fmt.Errorf("%q is no KEY=VALUE", e)
	}
	if given {
		return []string{e}, nil
	}
	if v, ok := os.LookupEnv(key); ok {
		return []string{key + "=" + v}, nil
	}
	return nil, nil
}

func envFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var env []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		list, err := variable(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		env = append(env, list...)
	}
	return env, lines.Err()
}

// labels reads -l KEY[=VALUE].
func labels(flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, l := range flags {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return nil, fmt.Errorf("--label: %q is no KEY=VALUE", l)
		}
		m[key] = value
	}
	return m, nil
}

// mounts reads -v SRC:DST[:ro] and opens the sources, so that the engine can
// make sure that it mounts what the caller sees. The files are the caller's to
// close.
func mounts(flags []string) (list []api.Mount, closeAll func(), err error) {
	closeAll = func() {
		for _, m := range list {
			m.Opened.Close()
		}
	}
	for _, v := range flags {
		m, err := mount(v)
		if err != nil {
			return list, closeAll, fmt.Errorf("-v %s: %w", v, err)
		}
		list = append(list, m)
	}
	return list, closeAll, nil
}

func mount(v string) (api.Mount, error) {
	parts := strings.Split(v, ":")
	var m api.Mount
	if n := len(parts); n == 3 && (parts[2] == "ro" || parts[2] == "rw") {
		m.ReadOnly = parts[2] == "ro"
		parts = parts[:2]
	}
	if len(parts) != 2 {
		return m, fmt.Errorf("expected SOURCE:DESTINATION, SOURCE:DESTINATION:ro or :rw")
	}
	m.Source, m.Destination = parts[0], parts[1]
	if !filepath.IsAbs(m.Destination) {
		return m, fmt.Errorf("the destination %q is not an absolute path", m.Destination)
	}
	if !strings.ContainsRune(m.Source, '/') && m.Source != "." && m.Source != ".." {
		return m, fmt.Errorf("the source %q is no path: there are no named volumes; write ./%s for what is in this directory", m.Source, m.Source)
	}
	abs, err := filepath.Abs(m.Source)
	if err != nil {
		return m, err
	}
	m.Source = abs
	// Only to point at it: neither permission to read is needed, nor is a
	// device or a fifo opened by it.
	fd, err := unix.Open(abs, openPath|unix.O_CLOEXEC, 0)
	if err != nil {
		return m, &os.PathError{Op: "open", Path: abs, Err: err}
	}
	m.Opened = os.NewFile(uintptr(fd), abs)
	return m, nil
}

// moment reads a point in time: RFC 3339 with or without its end, seconds
// since 1970, or how long ago it was.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1e10 && f < 1e11 {
		return time.Unix(0, int64(f*1e9)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: expected 2006-01-02T15:04:05, seconds since 1970, or how long ago, as 10m", s)
}

// word is a flag with a few values.
type word struct {
	value string
	of    []string
}

func (w *word) String() string { return w.value }
func (w *word) Type() string   { return strings.Join(w.of, "|") }

func (w *word) Set(s string) error {
	for _, o := range w.of {
		if s == o {
			w.value = s
			return nil
		}
	}
	return fmt.Errorf("expected %s", strings.Join(w.of, " or "))
}
