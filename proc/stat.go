package proc

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of times in proc(5): sysconf(_SC_CLK_TCK) is 100 on every
// architecture that Go runs on.
const userHZ = 100

// parseStat reads /proc/PID/stat, proc_pid_stat(5). The name is in parentheses
// and may have some itself. Started is since boot.
func parseStat(text string) (p Process, started time.Duration, err error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, 0, fmt.Errorf("stat %q: %w: no name", text, fs.ErrInvalid)
	}
	p.Name = text[open+1 : end]
	fields := strings.Fields(text[end+1:]) // from the third on
	const (
		state, ppid, utime, stime, cutime, cstime, threads, starttime = 0, 1, 11, 12, 13, 14, 17, 19
	)
	if len(fields) <= starttime || len(fields[state]) != 1 {
		return p, 0, fmt.Errorf("stat %q: %w: %d fields", text, fs.ErrInvalid, len(fields))
	}
	p.State = fields[state][0]
	number := func(s string) (n int64) {
		var nerr error
		if n, nerr = strconv.ParseInt(s, 10, 64); nerr != nil && err == nil {
			err = fmt.Errorf("stat %q: %w", text, nerr)
		}
		return n
	}
	p.PID, p.Parent = int(number(strings.TrimSpace(text[:open]))), int(number(fields[ppid]))
	p.CPU = time.Duration(number(fields[utime])+number(fields[stime])) * (time.Second / userHZ)
	p.Waited = time.Duration(number(fields[cutime])+number(fields[cstime])) * (time.Second / userHZ)
	p.Threads = int(number(fields[threads]))
	return p, time.Duration(number(fields[starttime])) * (time.Second / userHZ), err
}

// parseStatm reads what is resident from /proc/PID/statm, in bytes. The same number in
// /proc/PID/stat is an approximation, and 0 for a process of a few pages
// (proc_pid_stat(5); percpu_counter_read_positive in the kernel's get_mm_rss).
func parseStatm(text string, pageSize int) (int64, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm %q: %w: %d fields", text, fs.ErrInvalid, len(fields))
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("statm %q: %w", text, err)
	}
	return n * int64(pageSize), nil
}

// parseArgs splits what /proc/PID/cmdline and kern.proc.args have: each argument
// ends with a NUL.
func parseArgs(b []byte) []string {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// parseBoot finds the time of boot in /proc/stat.
func parseBoot(text string) (time.Time, error) {
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			if err != nil {
				return time.Time{}, fmt.Errorf("time of boot: %w", err)
			}
			return time.Unix(n, 0), nil
		}
	}
	return time.Time{}, fmt.Errorf("time of boot: %w in /proc/stat", fs.ErrNotExist)
}

// parseIO reads /proc/PID/io, proc_pid_io(5).
func parseIO(text string) (io IO, err error) {
	found := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var to *int64
		switch key {
		case "read_bytes":
			to = &io.Read
		case "write_bytes":
			to = &io.Written
		default:
			continue
		}
		if *to, err = strconv.ParseInt(value, 10, 64); err != nil {
			return io, fmt.Errorf("io %q: %w", line, err)
		}
		found++
	}
	if found != 2 {
		return io, fmt.Errorf("io %q: %w: no bytes", text, fs.ErrInvalid)
	}
	return io, nil
}
