// Package cgroup keeps processes together in groups of the cgroup2 hierarchy,
// whether or not it has controllers: as a set that a process is born into and
// that neither a double fork nor setsid(2) leaves. What the processes of a group
// use together can be bounded where a controller is: [Limits], also by the
// hierarchies of version 1 that a hybrid host has beside; so can the devices that
// they open: [Devices].
//
// Find names the place for groups of one's own; a [Group] is one directory
// there:
//
//	base, err := cgroup.Find()
//	if err != nil {
//		return err // errors.Is(err, errors.ErrUnsupported): no cgroup2 to write to
//	}
//	g, err := cgroup.Make(filepath.Join(base, "job"))
//	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
//	err = cmd.Start()
//	err = g.WaitEmpty(ctx) // the program and all it has forked
//	err = g.Remove(ctx)
//
// See the kernel's Documentation/admin-guide/cgroup-v2.rst. On other kernels
// than Linux every function returns errors.ErrUnsupported.
package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// mountPoint returns where the text of /proc/self/mountinfo has a cgroup2
// hierarchy, and which group of it is mounted there.
func mountPoint(mountinfo io.Reader) (dir, root string, err error) {
	in := bufio.NewScanner(mountinfo)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		// 36 35 98:0 /root /point options optional... - type source superoptions; proc_pid_mountinfo(5)
		head, tail, ok := strings.Cut(in.Text(), " - ")
		fields := strings.Fields(head)
		if !ok || len(fields) < 6 || !strings.HasPrefix(tail, "cgroup2 ") {
			continue
		}
		return unescape(fields[4]), unescape(fields[3]), nil
	}
	return "", "", in.Err()
}

// unescape turns the \040 of mountinfo back into the byte.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || len(s) < i+4 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			b.WriteString(s[i : i+4])
		} else {
			b.WriteByte(byte(n))
		}
		s = s[i+4:]
	}
}

// ownGroup returns the group of the cgroup2 hierarchy that the text of
// /proc/self/cgroup names: the line with hierarchy 0.
func ownGroup(r io.Reader) (string, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if g, ok := strings.CutPrefix(in.Text(), "0::"); ok {
			return g, nil
		}
	}
	return "", in.Err()
}

// populated reads the content of cgroup.events.
func populated(events string) (bool, error) {
	for line := range strings.Lines(events) {
		if v, ok := strings.CutPrefix(line, "populated "); ok {
			return strings.TrimSpace(v) != "0", nil
		}
	}
	return false, fmt.Errorf("cgroup.events has no line populated: %q", events)
}

// pids reads the content of cgroup.procs. A process outside the reader's pid
// namespace is 0 there, and left out.
func pids(procs string) ([]int, error) {
	var out []int
	for line := range strings.Lines(procs) {
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("cgroup.procs: %w", err)
		}
		if n > 0 {
			out = append(out, n)
		}
	}
	return out, nil
}
