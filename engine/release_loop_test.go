package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
)

// A run loop of another release is a process between the engine and a run loop of
// this one. It passes calls and descriptors on, and differs from the real one in what
// a release can differ in: the version that it tells, the methods and fields that it
// does not have, what it says that others do not.
type release struct {
	version int
	lacks   []string // methods, and fields at the top of any parameter
	says    string   // a field of everything it answers
	wire    byte     // version of the wire, to all but its starter; 0: ours
}

var releases = map[string]release{
	"earlier": {version: control.Version - 1, lacks: []string{"Control.Resize", "Control.Detach", "user"}},
	"later":   {version: control.Version + 1, says: "new"},
	"foreign": {version: control.Version + 1, wire: 2},
}

// releaseArg and the name of a release are the first argument of its run loops.
const releaseArg = "@release="

// loopOf is the engine's Config.RunLoop for a release.
func loopOf(release string) []string { return []string{os.Args[0], releaseArg + release} }

// releaseHelper is the run loop of another release, if this process is to be one.
func releaseHelper() bool {
	if len(os.Args) != 3 {
		return false
	}
	name, ok := strings.CutPrefix(os.Args[1], releaseArg)
	if !ok {
		return false
	}
	if err := releases[name].run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "run loop of another release:", err)
		os.Exit(1)
	}
	return true
}

// run is the process. Descriptors are those of package runloop.
func (rel release) run(id string) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	starter, err := ipc.FileConn(os.NewFile(4, "starter"))
	if err != nil {
		return err
	}
	cmd, c, err := realLoop(id)
	if err != nil {
		return err
	}
	var started atomic.Bool
	s := &ipc.Server{API: rel.version, Handler: func(ctx context.Context, r *ipc.Request) (any, []*os.File, error) {
		if err := rel.refuse(r); err != nil {
			return nil, nil, err
		}
		var in any
		if len(r.Params) > 0 {
			in = json.RawMessage(r.Params)
		}
		var out json.RawMessage
		files, err := c.Stream(ctx, r.Method, in, r.Files, func(raw []byte, _ []*os.File) error { return r.Emit(json.RawMessage(raw)) }, &out)
		if err == nil && r.Method == control.MethodControlStart {
			started.Store(true)
		}
		return rel.say(out), files, err
	}}
	go func() {
		_ = s.ServeConn(context.Background(), starter)
		if !started.Load() {
			_ = c.Close() // it was its lifeline
		}
	}()
	if rel.wire == 0 {
		go s.Serve(context.Background(), listener) //nolint:errcheck // it ends with this process
	} else {
		go greet(listener, rel.wire)
	}
	err = cmd.Wait()
	last, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if serr := s.Shutdown(last); !errors.Is(serr, context.DeadlineExceeded) {
		err = errors.Join(err, serr)
	}
	return err
}

// realLoop starts a run loop of this release with all that this process inherited but
// the sockets.
func realLoop(id string) (*exec.Cmd, *ipc.Client, error) {
	mine, its, err := ipc.Pair()
	if err != nil {
		return nil, nil, err
	}
	conn, err := its.File()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "loop")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir) // nobody is to find it
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	listener, err := l.File()
	if err != nil {
		return nil, nil, err
	}
	self := "/proc/self/exe" // where it is a sealed memfd
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			return nil, nil, err
		}
	}
	cmd := &exec.Cmd{
		Path: self, Args: []string{"xc-runloop", "@xc-runloop", id}, Dir: "/",
		ExtraFiles:  []*os.File{listener, conn, os.NewFile(5, "configuration")},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	for fd := 6; ; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			break // not inherited
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "of the tenant"))
	}
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		err = errors.Join(err, f.Close())
	}
	return cmd, ipc.NewClient(mine, ipc.Limits{Hello: time.Minute}), err
}

// refuse answers what this release does not know, as package ipc does.
func (rel release) refuse(r *ipc.Request) error {
	var params map[string]json.RawMessage
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &params); err != nil {
			return err
		}
	}
	for _, lack := range rel.lacks {
		if lack == r.Method {
			return ipc.NoMethod(lack)
		}
		for _, p := range params {
			var fields map[string]json.RawMessage
			if json.Unmarshal(p, &fields) != nil {
				continue // no struct
			}
			if _, ok := fields[lack]; ok {
				return &ipc.Error{Code: ipc.CodeNoField, Also: []string{ipc.CodeInvalid, ipc.CodeUnsupported}, Op: "decode", Object: r.Method,
					Message: fmt.Sprintf("parameters of %s: json: unknown field %q", r.Method, lack)}
			}
		}
	}
	return nil
}

// say adds to an answer what only this release says.
func (rel release) say(answer json.RawMessage) any {
	if rel.says == "" || len(answer) == 0 {
		return answer
	}
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		panic(err)
	}
	var add func(any)
	add = func(v any) {
		if m, ok := v.(map[string]any); ok {
			for _, inner := range m {
				add(inner)
			}
			m[rel.says] = map[string]any{"more": []int{1}}
		}
	}
	add(v)
	return v
}

// greet answers every connection with a hello of another wire.
func greet(l net.Listener, version byte) {
	hello := fmt.Sprintf(`{"ipc":%d}`, version)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write(append([]byte{0, 0, 0, byte(len(hello)), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, hello...))
		_ = c.Close()
	}
}
