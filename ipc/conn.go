package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errProtocol is a peer that does not keep to the wire. It ends the connection.
var errProtocol = errors.New("ipc protocol violated")

// A Conn is one end of a connection, before it becomes a [Client] or is served
// by a [Server]: nothing has been sent or received on it, so that it can also
// be given to another process.
type Conn struct {
	conn   *net.UnixConn
	limits Limits
	api    int   // to announce; see Server
	peer   hello // what the other side announced
	r      reader
	w      writer
}

// otherVersion is a peer that speaks another version of the wire.
type otherVersion int

func (v otherVersion) Error() string {
	return fmt.Sprintf("the peer speaks wire version %d, this side %d", int(v), version)
}

func (otherVersion) Is(target error) bool {
	return target == errProtocol || target == errors.ErrUnsupported
}

// bufferSize is asked for on both sides of a socket, in bytes. FreeBSD's
// default (net.local.stream.sendspace) is 8 KiB.
const bufferSize = 256 << 10

// Dial connects to the server that listens at path. The error matches
// fs.ErrNotExist where there is nothing, and ECONNREFUSED where nobody listens.
func Dial(ctx context.Context, path string) (*Conn, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return NewConn(c)
}

// dial looks again where a server went away just then. On FreeBSD connect(2) can
// fail with ECONNRESET (soclose of kern/uipc_socket.c aborts what is in the queue of
// a listener, unp_drop of kern/uipc_usrreq.c), which does not say what is there now.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.ECONNRESET) {
			return c, err
		}
	}
}

// NewConn takes c over, which must be a stream socket of the UNIX domain.
func NewConn(c net.Conn) (*Conn, error) {
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unix" {
		_ = c.Close() // it was never used
		return nil, fmt.Errorf("ipc over %s: %w", c.LocalAddr().Network(), errors.ErrUnsupported)
	}
	rc, err := u.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, u.Close())
	}
	conn := &Conn{conn: u}
	conn.r.init(u, rc)
	conn.w.init(u, rc)
	return conn, nil
}

// FileConn takes f over, which must be a connected stream socket of the UNIX
// domain, as inherited from a parent: FileConn(os.NewFile(3, "ipc")).
func FileConn(f *os.File) (*Conn, error) {
	c, err := net.FileConn(f) // duplicates, close-on-exec
	if cerr := f.Close(); err == nil && cerr != nil {
		err = errors.Join(cerr, c.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("ipc over %s: %w", f.Name(), err)
	}
	return NewConn(c)
}

// Pair returns both ends of a new connection. Use one and give the other to a
// child with [Conn.File], or use both in one process.
func Pair() (*Conn, *Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	fa, fb := os.NewFile(uintptr(fds[0]), "ipc"), os.NewFile(uintptr(fds[1]), "ipc")
	a, err := FileConn(fa)
	if err != nil {
		return nil, nil, errors.Join(err, fb.Close())
	}
	b, err := FileConn(fb)
	if err != nil {
		return nil, nil, errors.Join(err, a.Close())
	}
	return a, b, nil
}

// File gives the connection away: it returns the socket as a file, for
// exec.Cmd.ExtraFiles or for another call, and closes c. Who gets it uses FileConn.
// It must not be called once c is used by a Client or a Server.
func (c *Conn) File() (*os.File, error) {
	f, err := c.conn.File()
	if cerr := c.Close(); err == nil && cerr != nil {
		err = errors.Join(cerr, f.Close())
	}
	return f, err
}

// Close closes the connection and wakes who reads or writes. Closing it twice
// is no error.
func (c *Conn) Close() error {
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// hello is the first frame of each side. Fields may be added; unknown ones are
// ignored.
type hello struct {
	Version int `json:"ipc"`    // major version of the wire
	Body    int `json:"body"`   // bytes of a body this side takes
	Files   int `json:"files"`  // descriptors of a frame this side takes
	Window  int `json:"window"` // bytes of stream items this side takes without a credit

	API int `json:"api,omitempty"` // version of the methods that this side has
}

const helloMax = 4 << 10 // bytes

// greet sends the hello. The writer is idle then, and the socket empty.
func (c *Conn) greet(l Limits, window int) error {
	c.limits = l.filled()
	c.r.limits, c.w.stall = c.limits, c.limits.Stall
	c.r.alloc()
	// Larger buffers are a hope, not a need: kern.ipc.maxsockbuf may forbid it.
	_ = c.conn.SetReadBuffer(bufferSize)
	_ = c.conn.SetWriteBuffer(bufferSize)
	m := newMessage()
	defer m.free()
	if err := m.add(hello{version, c.limits.Body, c.limits.Files, window, c.api}); err != nil {
		return err
	}
	return c.w.send(context.Background(), m.frame(kindHello, 0, 0), nil)
}

// meet reads the other side's hello.
func (c *Conn) meet() error {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.limits.Hello)); err != nil {
		return err
	}
	all := c.r.limits
	c.r.limits.Body, c.r.limits.Stall = helloMax, c.limits.Hello
	f, err := c.r.next()
	c.r.limits = all
	if err != nil {
		return err
	}
	defer f.discard()
	if f.kind != kindHello || f.id != 0 || f.files != 0 {
		return fmt.Errorf("%w: frame of kind %d instead of a hello", errProtocol, f.kind)
	}
	if err := json.Unmarshal(f.body, &c.peer); err != nil {
		return fmt.Errorf("%w: hello: %w", errProtocol, err)
	}
	if c.peer.Version != version {
		return otherVersion(c.peer.Version)
	}
	if c.peer.Body <= 0 || c.peer.Files < 0 || c.peer.Window <= 0 {
		return fmt.Errorf("%w: hello %s", errProtocol, f.body)
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// fits tells whether the peer takes a frame.
func (c *Conn) fits(body, files int) error {
	if body > c.peer.Body {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("body of %d bytes, the peer takes %d", body, c.peer.Body)}
	}
	if files > c.peer.Files {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("%d descriptors, the peer takes %d", files, c.peer.Files)}
	}
	return nil
}

// cause turns the error of the reader into the one that ended the connection. That a
// peer of another version hung up follows from its version.
func (c *Conn) cause(err error) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.w.err == nil || errors.As(err, new(otherVersion)) {
		return err
	}
	return c.w.err
}

// ended tells that err is a peer that went away, which is no error for a server.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, fs.ErrClosed) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ENOTCONN) // FreeBSD, where the peer is already gone when the message is sent
}
