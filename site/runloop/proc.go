package runloop

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/logfile"
)

// proc is a process we started, with our ends of its streams.
type proc struct {
	tree   Tree
	master *os.File   // of its terminal; nil without
	input  *os.File   // where clients' input goes: master, or a pipe; nil: nowhere
	out    []*os.File // what is pumped: master, or pipes
	pumps  sync.WaitGroup
}

// emit takes output of a process; the data stays the caller's.
type emit func(s logfile.Stream, p []byte)

// launch starts a process in the tenant. The files of stdio stay the
// caller's; what is nil is made here, and what comes out of that goes to emit.
func launch(t Tenant, p control.Process, stdio control.Stdio, to emit) (*proc, error) {
	pr := &proc{}
	var theirs []*os.File // our copies of what only the process is to have
	defer func() { closeAll(theirs) }()
	files := [3]*os.File{stdio.Stdin, stdio.Stdout, stdio.Stderr}
	made, err := pr.streams(t, &files, p, &theirs)
	if err == nil {
		pr.tree, err = t.Start(&Process{Args: p.Args, Env: p.Env, Dir: p.Dir, User: p.User, Files: files, Terminal: p.Terminal, Ulimits: p.Ulimits})
	}
	if err != nil {
		pr.close()
		return nil, err
	}
	for i, f := range pr.out {
		stream := made[i]
		pr.pumps.Go(func() { pump(f, stream, to) })
	}
	return pr, nil
}

// streams completes files. It returns the streams of pr.out.
func (pr *proc) streams(t Tenant, files *[3]*os.File, p control.Process, theirs *[]*os.File) (made []logfile.Stream, err error) {
	if p.Terminal {
		master, tty, err := openTerminal(t, p.Size)
		if err != nil {
			return nil, err
		}
		pr.master, pr.input, pr.out = master, master, []*os.File{master}
		*theirs = append(*theirs, tty)
		*files = [3]*os.File{tty, tty, tty}
		return []logfile.Stream{logfile.Stdout}, nil
	}
	if err := setBlocking(files); err != nil {
		return nil, err
	}
	if files[0] == nil {
		if err := pr.stdin(&files[0], p.OpenStdin); err != nil {
			return nil, err
		}
		*theirs = append(*theirs, files[0])
	}
	for i, stream := range []logfile.Stream{logfile.Stdout, logfile.Stderr} {
		if files[i+1] != nil {
			continue
		}
		ours, their, err := pipe(0)
		if err != nil {
			return nil, err
		}
		files[i+1] = their
		*theirs = append(*theirs, their)
		pr.out, made = append(pr.out, ours), append(made, stream)
	}
	return made, nil
}

func (pr *proc) stdin(f **os.File, open bool) (err error) {
	if open {
		pr.input, *f, err = pipe(1)
		return err
	}
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	*f = os.NewFile(uintptr(fd), os.DevNull)
	return nil
}

// drain ends the pumps, after what is in the pipes and the terminal now. The
// processes are gone, but something outside may hold a descriptor of theirs.
func (pr *proc) drain() {
	for _, f := range pr.out {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // closed: its pump has ended
	}
	pr.pumps.Wait()
}

// close gives up our ends of the streams: a terminal hangs up.
func (pr *proc) close() {
	closeAll(pr.out)
	if pr.input != nil {
		_ = pr.input.Close() // also master; nobody reads it any more
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // not written to through these
	}
}

const (
	pumpSize = 32 << 10 // bytes
	// drainMax bounds what drain reads from one pipe, in bytes: as much as
	// one can hold on Linux (fs.pipe-max-size); 64 KiB on FreeBSD.
	drainMax = 1 << 20
)

// pump copies from f until its end, or, once the deadline of f has passed,
// what is there.
func pump(f *os.File, s logfile.Stream, to emit) {
	b := make([]byte, pumpSize)
	for {
		n, err := f.Read(b)
		if n > 0 {
			to(s, b[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil { // EOF; from a terminal that nobody has open also EIO
			return
		}
	}
	for total := 0; total < drainMax; {
		n, err := readNow(f, b)
		if n == 0 || err != nil {
			return
		}
		to(s, b[:n])
		total += n
	}
}

// exitOf makes an exit of a wait status.
func exitOf(st syscall.WaitStatus, err error) control.Exit {
	e := control.Exit{At: time.Now().UTC()}
	switch {
	case err != nil:
		e.Code, e.Lost, e.Error = 137, true, fmt.Sprintf("status of the process: %v", err)
	case st.Signaled():
		e.Signal, e.Core = int(st.Signal()), st.CoreDump()
		e.Code = 128 + e.Signal
	default:
		e.Code = st.ExitStatus()
	}
	return e
}
