package host

import (
	"errors"
	"io/fs"
	"time"

	"github.com/joyboyid/xc/proc"
)

// Usage is what a container uses, exec'ed processes included.
type Usage struct {
	CPU       time.Duration // of its processes, with what has ended as far as that is counted
	Memory    int64         // bytes
	Processes int
	Threads   int
	IO        proc.IO // since its start, in bytes
	Rates     *Rates  // where the kernel tells these instead of sums
	// Missing tells why something is not known, by what: "io".
	Missing map[string]string
}

// Rates are averages of the kernel over the last second or so.
type Rates struct {
	CPU           float64 // percent of one processor
	Read, Written int64   // bytes per second
}

// missing notes why something is not known.
func (u *Usage) missing(what string, why error) {
	if u.Missing == nil {
		u.Missing = map[string]string{}
	}
	u.Missing[what] = oneLine(why.Error())
}

// add adds what a process uses. One that has ended meanwhile adds nothing.
func (u *Usage) add(pid int) error {
	p, err := proc.Read(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	u.Processes++
	u.Threads += p.Threads
	u.CPU += p.CPU + p.Waited
	u.Memory += p.Memory
	return nil
}
