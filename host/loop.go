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
}

// Close ends the connection. A run loop that has started main goes on.
func (l *Loop) Close() {
	if l.Control.C != nil {
		l.Control.C.Close()
	}
}

func (h *Host) socketPath(id string) string { return filepath.Join(h.cfg.RunDir, id+".sock") }

// Dial connects to the run loop of a container.
func (h *Host) Dial(ctx context.Context, id string) (*Loop, error) {
	c, err := ipc.Open(ctx, h.socketPath(id))
	if err != nil {
		return nil, err
	}
	return &Loop{control.ControlClient{C: c}}, nil
}

// loopSteps make a run loop: its socket, then the process, whose configuration
// may depend on the steps before. The tenant's files are inherited from
// descriptor firstFile on. A run loop that was kept ready for this site (see
// NewID) is used instead of a new one.
func (h *Host) loopSteps(id string, configure func() (runloop.Config, error), files []*os.File, loop *Loop) []site.Step {
	path := h.socketPath(id)
	var started *started
	return []site.Step{
		step(kindSocket, thing{Path: path}, func(context.Context) (err error) {
			if started = h.takeSpare(id); started != nil {
				return os.Rename(h.sparePath(id), path)
			}
			return nil
		}),
		step(kindRunLoop, thing{Path: path}, func(ctx context.Context) error {
			if started == nil {
				var err error
				if started, err = h.startLoop(id, path, files); err != nil {
					return err
				}
			}
			cfg, err := configure()
			if err == nil {
				err = started.configure(cfg)
			}
			if err != nil {
				return errors.Join(err, started.abandon())
			}
			loop.Control = control.ControlClient{C: ipc.NewClient(started.conn, ipc.Limits{})}
			return nil
		}),
	}
}

// started is a run loop that waits for its configuration.
type started struct {
	conn   *ipc.Conn
	config *os.File // to be written, once
}

// configure lets the run loop go on.
func (s *started) configure(cfg runloop.Config) error {
	b, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	_, err = s.config.Write(b)
	return errors.Join(err, s.config.Close())
}

// abandon ends a run loop that was not configured: it sees the end of its
// configuration, and of the connection.
func (s *started) abandon() error { return errors.Join(s.config.Close(), s.conn.Close()) }

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

// Descriptors of a run loop; see package runloop.
const firstFile = 6

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
	select {
	case <-c.Done():
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("run loop %s does not end: %w", t.Path, ctx.Err()), err)
	}
}

func (h *Host) removeSocket(_ context.Context, t thing) error {
	if filepath.Dir(t.Path) != h.cfg.RunDir {
		return fmt.Errorf("remove %s: it is not in %s", t.Path, h.cfg.RunDir)
	}
	if err := os.Remove(t.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
