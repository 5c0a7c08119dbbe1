// Package proc tells what a process is and what it has used: the same facts on
// Linux, from proc(5), and on FreeBSD, from sysctl(3) kern.proc.pid.
//
//	p, err := proc.Read(os.Getpid())
//	fmt.Println(p.Name, p.CPU, p.Memory)
//
// On other systems Read returns errors.ErrUnsupported.
package proc

import "time"

// Process is one process at one moment.
type Process struct {
	PID     int
	Parent  int
	UID     int           // effective
	Name    string        // of the program, as the kernel has it: cut off at 15 (Linux) or 19 bytes
	Args    []string      // as the process has them now; none of the kernel's own, nor of a zombie on Linux
	State   byte          // as in ps(1): R runs, S sleeps, D waits for a disk, T is stopped, Z is a zombie, I is being made or idle
	Started time.Time     // to 10 ms on Linux
	CPU     time.Duration // of all its threads, user and system
	Waited  time.Duration // CPU of its children that have ended and it has waited for, and of theirs
	Memory  int64         // resident, in bytes
	Threads int
}

// IO is what a process has read from storage and made to be written to it, in bytes,
// with its children that have ended and that it has waited for.
type IO struct{ Read, Written int64 }

// ReadIO looks at what a process has read and written. The error matches
// fs.ErrNotExist when there is none, and errors.ErrUnsupported where the kernel does
// not count it: FreeBSD counts operations, and bytes of jails only (rctl(4)).
func ReadIO(pid int) (IO, error) { return readIO(pid) }

// Read looks at a process. The error matches fs.ErrNotExist when there is none.
func Read(pid int) (Process, error) { return read(pid) }
