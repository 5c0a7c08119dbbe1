package proc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"time"
)

// struct kinfo_proc of sys/user.h on 64-bit FreeBSD, which keeps its size and
// offsets (KINFO_PROC_SIZE) for the programs there are.
const (
	kinfoSize    = 1088
	kinfoPID     = 72
	kinfoParent  = 76
	kinfoUID     = 168
	kinfoRSS     = 264 // pages
	kinfoRuntime = 328 // microseconds
	kinfoStart   = 336 // struct timeval
	kinfoWaited  = 352 // struct timeval
	kinfoStat    = 388
	kinfoComm    = 447 // 20 bytes
	kinfoThreads = 596
)

// states are ki_stat as letters of ps(1): SIDL to SLOCK of sys/proc.h.
const states = "IRSTZWL"

func parseKinfo(b []byte, pageSize int) (p Process, err error) {
	if len(b) != kinfoSize || binary.LittleEndian.Uint32(b) != kinfoSize {
		return p, fmt.Errorf("kinfo_proc of %d bytes: %w", len(b), fs.ErrInvalid)
	}
	number := func(at int) int { return int(int32(binary.LittleEndian.Uint32(b[at:]))) }
	long := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	p = Process{
		PID: number(kinfoPID), Parent: number(kinfoParent), UID: number(kinfoUID), Threads: number(kinfoThreads),
		Memory: long(kinfoRSS) * int64(pageSize), CPU: time.Duration(long(kinfoRuntime)) * time.Microsecond,
		Waited:  time.Duration(long(kinfoWaited))*time.Second + time.Duration(long(kinfoWaited+8))*time.Microsecond,
		Started: time.Unix(long(kinfoStart), long(kinfoStart+8)*1000),
	}
	name := b[kinfoComm : kinfoComm+20]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	p.Name = string(name)
	if s := int(b[kinfoStat]); s >= 1 && s <= len(states) {
		p.State = states[s-1]
	}
	return p, nil
}
