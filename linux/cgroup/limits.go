package cgroup

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Limits bound what the processes of a group use together. Zero is no limit.
type Limits struct {
	Memory int64   // bytes of memory; they cannot be swapped out to have more
	CPU    float64 // processors: 1.5 is as much time as one and a half have
	Pids   int64   // processes and threads
}

// Controllers names the controllers that the limits need.
func (l Limits) Controllers() []string {
	var names []string
	if l.Memory > 0 {
		names = append(names, "memory")
	}
	if l.CPU > 0 {
		names = append(names, "cpu")
	}
	if l.Pids > 0 {
		names = append(names, "pids")
	}
	return names
}

// Hierarchy is where groups with a controller are made.
type Hierarchy struct {
	Dir     string // below which groups are made
	Version int    // 1 or 2
}

// setting is a value for one of a group's files.
type setting struct {
	file, value string
	// optional: a kernel that does not count swap has no such file, and nothing
	// is swapped out for a limit's sake that it would bound.
	optional bool
}

// cpuPeriod is the time over which processor time is shared out, in
// microseconds: the kernel's own choice.
const cpuPeriod = 100_000

// settings are what one controller's limit is made of; sched-bwc.rst,
// cgroup-v1/memory.rst, cgroup-v1/pids.rst and cgroup-v2.rst of the kernel's
// documentation.
func (l Limits) settings(controller string, version int) []setting {
	memory, pids := strconv.FormatInt(l.Memory, 10), strconv.FormatInt(l.Pids, 10)
	quota := strconv.FormatInt(int64(l.CPU*cpuPeriod), 10)
	switch {
	case controller == "memory" && version == 2:
		return []setting{{"memory.max", memory, false}, {"memory.swap.max", "0", true}}
	case controller == "memory":
		return []setting{{"memory.limit_in_bytes", memory, false}, {"memory.memsw.limit_in_bytes", memory, true}}
	case controller == "cpu" && version == 2:
		return []setting{{"cpu.max", quota + " " + strconv.Itoa(cpuPeriod), false}}
	case controller == "cpu":
		return []setting{{"cpu.cfs_period_us", strconv.Itoa(cpuPeriod), false}, {"cpu.cfs_quota_us", quota, false}}
	case controller == "pids":
		return []setting{{"pids.max", pids, false}}
	}
	return nil
}

// versionOne returns where the text of /proc/self/mountinfo has the version 1
// hierarchy of a controller.
func versionOne(mountinfo io.Reader, controller string) (string, error) {
	in := bufio.NewScanner(mountinfo)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		head, tail, ok := strings.Cut(in.Text(), " - ")
		fields, source := strings.Fields(head), strings.Fields(tail)
		if !ok || len(fields) < 6 || len(source) < 3 || source[0] != "cgroup" {
			continue
		}
		if slices.Contains(strings.Split(source[2], ","), controller) {
			return unescape(fields[4]), nil
		}
	}
	return "", in.Err()
}

// oomKills reads how many processes the kernel has killed because a limit of
// memory was reached: memory.events, or memory.oom_control of version 1.
func oomKills(text string) int {
	n, _ := number(text, "oom_kill")
	return int(n)
}

// number finds a value in a file of lines KEY VALUE.
func number(text, key string) (int64, bool) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
