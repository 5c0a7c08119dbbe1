package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
)

// Loop is a connection to a run loop.
type Loop struct {
	Control control.ControlClient
	spare   *started // until it is configured
	path    string   // of the spare's socket, until it is renamed
}

// Close ends the connection. A run loop that has started main goes on.
func (l *Loop) Close() {
	if l.Control.C != nil {
		l.Control.C.Close()
	}
	if l.spare != nil {
		// It ends by itself; what cannot be removed is swept by the next engine.
		_ = errors.Join(l.spare.abandon(), os.Remove(l.path))
		l.spare = nil
	}
}

func (h *Host) socketPath(id string) string { return filepath.Join(h.cfg.RunDir, id+socketSuffix) }

const socketSuffix = ".sock"

// Dial connects to a run loop. fs.ErrNotExist and ECONNREFUSED tell that it is
// gone.
func Dial(ctx context.Context, path string) (*Loop, error) {
	c, err := ipc.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Loop{Control: control.ControlClient{C: c}}, nil
}

// Silent tells that an error of a run loop is not of one that is gone: it is there,
// and has not greeted in time (it is stopped, or the machine busy) or speaks another
// version of the wire (errors.ErrUnsupported).
func Silent(err error) bool {
	return ipc.CodeOf(err) == ipc.CodeUnavailable && (errors.Is(err, &ipc.Error{Code: ipc.CodeSilent}) || errors.Is(err, errors.ErrUnsupported))
}

// LoopPath finds the socket of a run loop among the undos of a run stack; it
// is where the engine that started it had its sockets. Without one it is "".
func LoopPath(pending []site.Undo) string {
	for _, u := range pending {
		var t thing
		if u.Kind == kindRunLoop && json.Unmarshal(u.Data, &t) == nil {
			return t.Path
		}
	}
	return ""
}

// loopSteps make a run loop: its socket, then the process, whose configuration
// may depend on the steps before. The tenant's files are inherited from
// descriptor firstFile on. A run loop that was kept ready for this site (see
// NewID) is used instead of a new one; when it turns out to be dead, a new one is
// started.
func (h *Host) loopSteps(id string, spare *started, configure func() (runloop.Config, error), files []*os.File, loop *Loop) []site.Step {
	path := h.socketPath(id)
	loop.spare, loop.path = spare, h.sparePath(id)
	return []site.Step{
		step(kindSocket, thing{Path: path}, func(context.Context) error {
			if spare == nil {
				return nil // the run loop's step makes it
			}
			return os.Rename(loop.path, path)
		}),
		step(kindRunLoop, thing{Path: path}, func(context.Context) error {
			cfg, err := configure()
			if err != nil {
				return err
			}
			if spare != nil {
				loop.spare = nil
				if spare.configure(cfg) == nil {
					loop.take(spare)
					return nil
				}
				// It is dead, and who killed it may have removed its cgroup.
				if err := h.makeGroup(id); err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
				if err := errors.Join(spare.abandon(), os.Remove(path)); err != nil {
					return err
				}
			}
			s, err := h.startLoop(id, path, files)
			if err != nil {
				return err
			}
			if err := s.configure(cfg); err != nil {
				return errors.Join(err, s.abandon())
			}
			loop.take(s)
			return nil
		}),
	}
}

// helloTime is how long a run loop may take to say hello: it has only begun to
// execute. On a busy machine that takes more than the seconds a server may take; one
// that has died is noticed at once.
const helloTime = 2 * time.Minute

// take makes a run loop that has its configuration the one to talk to.
func (l *Loop) take(s *started) {
	l.Control = control.ControlClient{C: ipc.NewClient(s.conn, ipc.Limits{Hello: helloTime})}
}

// started is a run loop that waits for its configuration.
type started struct {
	conn   *ipc.Conn
	config *os.File // to be written, once
}

// rehearse has a run loop do what a start will ask of it, as far as it can
// before it is configured: its program is then in memory, and the types of a
// start known to encoding/json, which each process has to learn. It is done on
// another connection: on one that has not been greeted, a call that fails is
// known not to have been executed.
func rehearse(ctx context.Context, path string) error {
	l, err := Dial(ctx, path)
	if err != nil {
		return err
	}
	defer l.Close()
	_, err = l.Control.Start(ctx, control.Process{}, control.Stdio{})
	if !errors.Is(err, fs.ErrInvalid) { // what a start of nothing is
		return fmt.Errorf("rehearse a start: %w", err)
	}
	_, err = l.Control.State(ctx)
	return err
}

// configure lets the run loop go on.
func (s *started) configure(cfg runloop.Config) error {
	b, err := json.Marshal(cfg)
	if err = errors.Join(err, ipc.CheckText(cfg)); err != nil {
		return err
	}
	if _, err := s.config.Write(b); err != nil {
		return err
	}
	return s.config.Close()
}

// abandon ends a run loop that was not configured: it sees the end of its
// configuration, and of the connection.
func (s *started) abandon() error {
	err := s.config.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	return errors.Join(err, s.conn.Close())
}

// listen makes the control socket. It is the engine that makes it, so that it
// can be dialled from the moment the run loop exists; the socket's file
// belongs to the journal.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return l.File()
}

// startLoop starts the process, with a listener on path and one end of a first
// connection.
func (h *Host) startLoop(id, path string, files []*os.File) (*started, error) {
	listener, err := listen(path)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	conn, theirs, err := lifeline()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	in, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer in.Close()
	s := &started{conn: conn, config: out}
	cmd := exec.Cmd{
		Path: h.program, Args: append(append([]string{}, h.cfg.RunLoop[1:]...), id), Dir: "/", Env: h.loopEnv(id),
		ExtraFiles:  append([]*os.File{listener, theirs, in}, files...),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start run loop: %w", err), s.abandon())
	}
	go cmd.Wait() //nolint:errcheck // reaps it; what became of the container is in the exit record
	return s, nil
}

// lifeline makes the first connection; the second end is the run loop's.
func lifeline() (ours *ipc.Conn, theirs *os.File, err error) {
	ours, other, err := ipc.Pair()
	if err != nil {
		return nil, nil, err
	}
	theirs, err = other.File()
	if err = errors.Join(err, other.Close()); err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, theirs, nil
}

// undoTime bounds how long a run loop may take to give up its tenant.
const undoTime = 20 * time.Second

// removeLoop ends a run loop, and with it what runs in its tenant.
func removeLoop(ctx context.Context, t thing) error {
	if err := ourSocket(t.Path, socketSuffix); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("end run loop: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	c, err := ipc.Open(ctx, t.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dial run loop %s: %w", t.Path, err)
	}
	defer c.Close()
	err = (control.ControlClient{C: c}).Abandon(ctx)
	if Silent(err) {
		return fmt.Errorf("run loop %s does not answer: %w", t.Path, err)
	}
	select {
	case <-c.Done():
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("run loop %s does not end: %w", t.Path, ctx.Err()), err)
	}
}

// ourSocket tells whether a path is that of a site's socket, by its name and
// kind: its directory is where an engine had its sockets at the time.
func ourSocket(path, suffix string) error {
	id, ok := strings.CutSuffix(filepath.Base(path), suffix)
	if !ok || !idRule.MatchString(id) {
		return fmt.Errorf("socket %s: it is not of ours", path)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: it is no socket", path)
	}
	return nil
}

func removeSocket(_ context.Context, t thing) error {
	err := ourSocket(t.Path, socketSuffix)
	if err == nil {
		err = os.Remove(t.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkRunDir tells whether the names of sockets fit: sun_path of unix(4) and
// unix(7).
func (h *Host) checkRunDir() error {
	longest := h.sparePath(randomID())
	if have, most := len(longest), len(syscall.RawSockaddrUnix{}.Path)-1; have > most {
		return fmt.Errorf("run directory %s: it is %d bytes too long for the names of sockets in it: choose another (--run-dir)", h.cfg.RunDir, have-most)
	}
	return nil
}
