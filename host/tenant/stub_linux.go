package tenant

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/linux/ns"
	"golang.org/x/sys/unix"
)

// stubName is the stub's argv[0].
const stubName = "xc-tenant"

// isStub tells whether this process is a stub.
func isStub() bool { return len(os.Args) == 1 && os.Args[0] == stubName }

// While a program is initialised its main goroutine is on the first thread. In a
// stub it stays there.
func init() {
	if isStub() {
		runtime.LockOSThread()
	}
}

// Main runs the stub if this process is one, and ends it with the process.
// Otherwise it returns false at once. It is to be the first call of main.
//
// A process of the tenant that executes /proc/self/exe under the stub's name
// gets a stub with its own few privileges and no socket: it ends at once.
func Main() bool {
	if !isStub() {
		return false
	}
	os.Exit(stub())
	return true
}

// stubSocket is where a stub finds its end of the socket.
const stubSocket = 0

// keeper is the stub: pid 1 of the tenant.
type keeper struct {
	made   furniture
	root   *inroot.Root
	drop   []int // capabilities that what it starts must not have
	keep   ns.Caps
	filter []byte // of system calls
	join   []int  // files of cgroups that each process joins
	// apart: processes are not in the stub's groups. Each then has a cgroup
	// namespace of its own, whose roots are the groups it was born into.
	apart bool

	mu      sync.Mutex   // held from before a start until its answer is sent
	started map[int]bool // children that were asked for and not reaped
	idle    bool         // the reaper waits on births: there are no children
	births  chan struct{}
}

// stub serves the run loop until it goes away, and returns the exit status.
func stub() int {
	// All that is not shared by threads (mount namespaces are, once unshared,
	// not) is done by the one that also starts processes: the first, which /proc/1
	// shows, and whose mask decides about signals.
	if os.Getpid() != 1 || unix.Gettid() != 1 {
		return 1
	}
	k := &keeper{started: map[int]bool{}, births: make(chan struct{}, 1)}
	if err := k.serve(); err != nil {
		_, _ = os.Stderr.WriteString("xc-tenant: " + err.Error() + "\n")
		return 1
	}
	return 0
}

func (k *keeper) serve() error {
	if err := isolate(); err != nil {
		return err
	}
	// Before it is known what for: that may come much later.
	k.made = makeFurniture()
	for {
		q, fds, err := readRequest()
		if err != nil || q == nil {
			return err
		}
		if err := k.handle(q, fds); err != nil {
			return err
		}
	}
}

const numSignals = 64

// isolate makes the stub what processes of the tenant cannot look into.
func isolate() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return newError("prctl", "dumpable", err)
	}
	if err := unix.CloseRange(3, ^uint(0), 0); err != nil {
		return newError("close_range", "", err)
	}
	// A signal from inside reaches the pid 1 of a namespace only if there is a
	// handler for it (pid_namespaces(7)), and the runtime has one for each: most
	// end the program. What is ignored, as under nohup(1), the processes of the
	// tenant would inherit. By default SIGCHLD is ignored, yet children can be
	// waited for, and without SIGURG the runtime preempts at function calls only.
	for sig := uintptr(1); sig <= numSignals; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		var dfl [4]uint64 // struct sigaction: SIG_DFL, no flags
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(ptr(&dfl)), 0, 8, 0, 0); e != 0 {
			return newError("sigaction", "", e)
		}
	}
	unix.Umask(0)
	return nil
}

// readRequest returns nil when the run loop has closed its end.
func readRequest() (*request, []int, error) {
	head, oob := make([]byte, header), make([]byte, oobSize)
	n, r, err := 0, received{}, error(nil)
	for {
		n, r, err = recvHead(stubSocket, head, oob)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		if n == 0 && len(r.fds) == 0 && isEOF(err) {
			return nil, nil, nil
		}
		return nil, nil, newError("read request", "", err)
	}
	if err := readFull(head[n:]); err != nil {
		return nil, nil, newError("read request", "", err)
	}
	size, err := bodySize(head)
	if err != nil {
		return nil, nil, err
	}
	body := make([]byte, size)
	if err := readFull(body); err != nil {
		return nil, nil, newError("read request", "", err)
	}
	q := new(request)
	if err := q.decode(body); err != nil {
		return nil, nil, newError("read request", "", err)
	}
	return q, r.fds, nil
}

func readFull(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(stubSocket, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.EPIPE
		}
		b = b[n:]
	}
	return nil
}

// say sends a message. The mutex is held, so that messages do not mix.
func say(m message, fds []int, pid int) error {
	b, err := pack(&m)
	if err != nil {
		return err
	}
	oob := rights(fds, pid)
	for len(b) > 0 {
		n, err := unix.SendmsgN(stubSocket, b, oob, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return newError("answer", "", err)
		}
		b, oob = b[n:], nil
	}
	return nil
}

// handle does what is asked and answers. Its own error ends the stub.
func (k *keeper) handle(q *request, fds []int) error {
	defer closeAll(fds)
	k.mu.Lock()
	defer k.mu.Unlock()
	answer := message{answer: true}
	var send []int
	pid := 0
	var err error
	switch {
	case q.setup != nil:
		if err = k.setup(q.setup, fds); err == nil {
			go k.reap()
		}
	case q.start != nil:
		var pidfd int
		if pid, pidfd, err = k.start(q.start, fds); err == nil {
			defer unix.Close(pidfd)
			send, answer.pid = []int{pidfd}, pid
		}
	case q.killAll:
		// From pid 1 of the namespace: all others in it, and none can fork away.
		if err = unix.Kill(-1, unix.SIGKILL); err == unix.ESRCH {
			err = nil
		}
	case q.pty:
		if send, err = openPty(); err == nil {
			defer closeAll(send)
		}
	default:
		err = unix.EINVAL
	}
	if err != nil {
		answer.err = newError("tenant", "", err)
	}
	return say(answer, send, pid)
}

// reap waits for children, those that were started and those that became
// orphans, and reports.
func (k *keeper) reap() {
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.ECHILD) && k.childless() {
			<-k.births
			continue
		}
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECHILD) {
			fatal(err)
		}
		if err := k.collect(); err != nil {
			fatal(err)
		}
	}
}

// childless tells whether there is nothing to wait for until the next birth.
func (k *keeper) childless() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.idle = len(k.started) == 0
	return k.idle
}

// fatal ends the stub and with it the tenant: its reaper must not stop quietly.
func fatal(err error) {
	_, _ = os.Stderr.WriteString("xc-tenant: reap: " + err.Error() + "\n")
	os.Exit(1)
}

// collect reaps all that have ended and reports them in one message.
func (k *keeper) collect() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var m message
	reaped := false
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ECHILD {
			m.none = true
			break
		}
		if err != nil {
			return err
		}
		if pid == 0 {
			break
		}
		reaped = true
		if k.started[pid] {
			delete(k.started, pid)
			m.exits = append(m.exits, exit{pid, syscall.WaitStatus(ws)})
		}
	}
	if !reaped {
		return nil
	}
	return say(m, nil, 0)
}
