package cli

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
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

// repeated is the value of a flag that may be given many times. It is not pflag's, which
// makes a writer of CSV with its buffer for each such flag: run has many.
type repeated []string

func (r *repeated) Set(s string) error {
	*r = append(*r, s)
	return nil
}

func (r *repeated) String() string { return strings.Join(*r, ",") }
func (*repeated) Type() string     { return "stringArray" } // by which completion knows it

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
