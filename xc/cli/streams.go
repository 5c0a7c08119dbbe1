package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/joyboyid/xc/engine/api"
)

// drainTime bounds how long the last output of a terminal is waited for once
// its container has ended. It is there already, or somebody outside keeps the
// pipe open.
const drainTime = 3 * time.Second

// streams connect a process in a container to this program's streams.
//
// Without a terminal the process gets the descriptors themselves. With one,
// it gets pipes, and what is typed and shown is relayed, so that the detach
// keys can be told apart and the terminal here is left in peace afterwards.
type streams struct {
	app    *App
	theirs api.Stdio // for the engine

	terminal bool
	typed    *os.File // our end of their stdin; nil when not interactive
	shown    *os.File // our end of their stdout
	filter   keyFilter
	detached chan struct{} // closed by the detach keys
	drained  chan struct{} // closed when all output was shown

	mortal bool // signals end this program: nobody else takes them

	mu    sync.Mutex
	saved *term.State // of the terminal here, while it is raw
	fatal chan os.Signal

	winch  chan os.Signal
	told   api.Size       // of the window, when the engine was asked
	resize sync.WaitGroup // who reads winch
}

// connect prepares the streams. The caller closes them.
func (a *App) connect(interactive, terminal bool, keys []byte) (*streams, error) {
	s := &streams{app: a, terminal: terminal, filter: keyFilter{keys: keys}, detached: make(chan struct{}), drained: make(chan struct{})}
	if !terminal {
		s.theirs = api.Stdio{Stdout: a.Stdout, Stderr: a.Stderr}
		if interactive {
			s.theirs.Stdin = a.Stdin
		}
		return s, nil
	}
	var err error
	if interactive {
		if !isTerminal(a.Stdin) {
			return nil, errors.New("standard input is no terminal, so it cannot be connected to one: leave out -t, or -i")
		}
		if s.theirs.Stdin, s.typed, err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("connect terminal: %w", err)
		}
	}
	if s.shown, s.theirs.Stdout, err = os.Pipe(); err != nil {
		s.close()
		return nil, fmt.Errorf("connect terminal: %w", err)
	}
	return s, nil
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// tell is size, for who will set that of the container's terminal by it: relay
// tells what has changed since.
func (s *streams) tell() api.Size {
	s.told = s.size()
	return s.told
}

// size is that of the window here; zero when there is none.
func (s *streams) size() api.Size {
	if !s.terminal {
		return api.Size{}
	}
	for _, f := range []*os.File{s.app.Stdout, s.app.Stdin} {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return api.Size{Rows: uint16(h), Cols: uint16(w)}
		}
	}
	return api.Size{}
}

// begin makes the terminal here raw: from now on the one in the container
// echoes, edits lines and makes signals of keys.
func (s *streams) begin() error {
	if s.typed == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	saved, err := term.MakeRaw(int(s.app.Stdin.Fd()))
	if err != nil {
		return fmt.Errorf("prepare terminal: %w", err)
	}
	s.saved = saved
	s.guard()
	return nil
}

// guard sees to it that no signal ends the program before the terminal is restored:
// that of a write to a pipe that nobody reads, and where they are not forwarded those
// that others send.
func (s *streams) guard() {
	fatal := make(chan os.Signal, 1)
	s.fatal = fatal
	signal.Notify(fatal, syscall.SIGPIPE)
	if s.mortal {
		signal.Notify(fatal, forwarded[:]...)
	}
	go func() {
		defer s.rescue()
		sig, ok := <-fatal
		if !ok {
			return
		}
		s.restore()
		signal.Reset(sig)
		if sig == syscall.SIGPIPE { // which ends a Go program by the write only: os/signal
			fmt.Fprintln(s.app.Stdout)
			return
		}
		_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal)) // always possible
	}()
}

// restore gives the terminal back as it was. It may be called at any time and
// more than once.
func (s *streams) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved == nil {
		return
	}
	if err := term.Restore(int(s.app.Stdin.Fd()), s.saved); err != nil {
		s.app.complain(fmt.Errorf("restore terminal: %w", err))
	}
	s.saved = nil
	signal.Stop(s.fatal)
	close(s.fatal)
}

// rescue, deferred, restores the terminal before a panic ends the program.
func (s *streams) rescue() {
	if v := recover(); v != nil {
		s.restore()
		panic(v)
	}
}

// relay starts to carry what is typed and shown, and the size of the window to
// resize.
func (s *streams) relay(resize func(api.Size) error) {
	if !s.terminal {
		return
	}
	s.winch = make(chan os.Signal, 1)
	signal.Notify(s.winch, syscall.SIGWINCH)
	told := s.told // before the window could change unseen
	s.resize.Go(func() {
		defer s.rescue()
		s.follow(told, resize)
	})
	if s.typed != nil {
		go s.carryTyped()
	}
	go func() {
		defer s.rescue()
		defer close(s.drained)
		// An error is either end being closed: there is nobody left to show it to.
		_, _ = io.Copy(s.app.Stdout, s.shown)
	}()
}

// notYet is how long a change of the window waits that could not be told: of a
// command that is still being started.
const notYet = 50 * time.Millisecond

// follow tells each change of the window until winch is closed.
func (s *streams) follow(told api.Size, resize func(api.Size) error) {
	for {
		var again <-chan time.Time
		if size := s.size(); size != told && size != (api.Size{}) {
			if resize(size) == nil {
				told = size
			} else {
				again = time.After(notYet)
			}
		}
		select {
		case _, ok := <-s.winch:
			if !ok {
				return
			}
		case <-again:
		}
	}
}

// carryTyped ends with the input, or with the detach keys. What is typed after
// the end of the container is read by the process that ends now, as everywhere.
func (s *streams) carryTyped() {
	defer s.rescue()
	b := make([]byte, 4096)
	for {
		n, err := s.app.Stdin.Read(b)
		out, detach := s.filter.write(b[:n])
		if _, werr := s.typed.Write(out); werr != nil && len(out) > 0 {
			return // nobody reads any more
		}
		if detach {
			close(s.detached)
			return
		}
		if err != nil {
			s.typed.Close()
			return
		}
	}
}

// given closes our copies of what the engine has been given, so that the end of
// the container's output can be seen.
func (s *streams) given() {
	if !s.terminal {
		return
	}
	for _, f := range []*os.File{s.theirs.Stdin, s.theirs.Stdout} {
		if f != nil {
			f.Close()
		}
	}
}

// until waits for the end, shows the last output and returns how it was, or
// nil when the detach keys were typed.
func (s *streams) until(answer <-chan outcome) error {
	select {
	case <-s.detached:
		return nil
	case o := <-answer:
		s.given()
		if s.winch != nil { // else nothing was relayed
			select {
			case <-s.drained:
			case <-time.After(drainTime):
			}
		}
		s.restore()
		if o.err != nil {
			return o.err
		}
		return ended(o.exit)
	}
}

// close gives everything back. It may follow anything, also an error halfway.
func (s *streams) close() {
	s.restore()
	if s.winch != nil {
		signal.Stop(s.winch)
		close(s.winch)
		s.resize.Wait()
	}
	s.given()
	if s.typed != nil {
		s.typed.Close()
	}
	if s.shown != nil {
		s.shown.Close()
	}
}
