package ipc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// ErrLost is a call that was sent and not answered before the connection ended:
// it may have been executed or not.
var ErrLost = errors.New("connection lost")

// A Client makes calls on a connection. Safe for concurrent use; the calls run
// at the same time and are answered in any order.
type Client struct {
	conn  *Conn
	ready chan struct{} // closed when the server's hello has come, or has not
	done  chan struct{} // closed when the connection has ended

	mu     sync.Mutex
	last   uint64
	calls  map[uint64]*call
	err    error // why it ended
	drain  bool  // the server takes no more calls
	bye    bool  // and has answered all that it took
	closed bool  // by Close
	met    bool  // the server's hello has come; written before ready is closed
}

// NewClient takes c over and starts to read from it.
func NewClient(c *Conn, l Limits) *Client {
	cl := &Client{
		conn:  c,
		ready: make(chan struct{}),
		done:  make(chan struct{}),
		calls: map[uint64]*call{},
	}
	err := c.greet(l, window) // does not block: nothing was sent before
	go cl.run(err)
	return cl
}

// Open dials path and makes a client of the connection.
func Open(ctx context.Context, path string) (*Client, error) {
	c, err := Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return NewClient(c, Limits{}), nil
}

// Close ends the connection. The handlers of calls that are running are
// cancelled, and the calls fail with fs.ErrClosed. Closing twice is no error.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.conn.Close()
	<-c.done
	return err
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended, nil while it has not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// API returns the version of its methods that the server has told (see [Server]),
// 0 if it tells none. It waits for the server's hello.
func (c *Client) API(ctx context.Context) (int, error) {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if !c.met {
		return 0, c.Err()
	}
	return c.conn.peer.API, nil
}

// Peer returns the server's credentials as of listen(2), or of socketpair(2).
func (c *Client) Peer() (Peer, error) { return c.conn.Peer() }

// Call calls a method with in as its parameters and stores the result in out;
// either may be nil. The files are lent: they stay the caller's, and may be
// closed once Call has returned. The returned files are the caller's to close.
// Parameters with a string that is not UTF-8 are refused, see [CheckText].
//
// When ctx ends, so does the context of the handler, and Call returns at once.
func (c *Client) Call(ctx context.Context, method string, in any, files []*os.File, out any) ([]*os.File, error) {
	return c.Stream(ctx, method, in, files, nil, out)
}

// Stream is Call for a method that also sends items. They are given to item one
// by one, in order, on the caller's goroutine, before Stream returns; the server
// waits when item is slow. The files of an item are closed when item returns.
// An error of item cancels the call and is returned.
func (c *Client) Stream(ctx context.Context, method string, in any, files []*os.File,
	item func(item []byte, files []*os.File) error, out any) ([]*os.File, error) {
	got, err := c.call(ctx, method, in, files, item, out)
	if err == nil {
		return got, nil
	}
	var remote *Error
	if errors.As(err, &remote) {
		return nil, err // tells what it is about
	}
	return nil, fmt.Errorf("call %s: %w", method, err)
}

func (c *Client) call(ctx context.Context, method string, in any, files []*os.File,
	item func([]byte, []*os.File) error, out any) ([]*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := callMessage(ctx, method, in)
	defer m.free()
	if err == nil {
		err = c.fits(ctx, m.body(), len(files))
	}
	if err != nil {
		return nil, err
	}
	id, k, err := c.register()
	if err != nil {
		return nil, err
	}
	// When the connection broke, the reader knows better why.
	if err := c.conn.w.send(ctx, m.frame(kindCall, id, len(files)), files); err != nil && err != errBroken {
		c.forget(id)
		k.discard()
		return nil, err
	}
	for {
		f, err := k.next(ctx)
		if err != nil {
			c.cancel(id, k)
			return nil, err
		}
		switch f.kind {
		case kindResult:
			return result(&f, k, out)
		case kindError:
			err := parseError(f.body)
			f.discard()
			k.free()
			return nil, err
		}
		if err = ctx.Err(); err == nil {
			err = c.item(id, k, &f, item)
		} else {
			f.discard()
		}
		if err != nil {
			c.cancel(id, k)
			return nil, err
		}
	}
}

// result ends a call.
func result(f *frame, k *call, out any) ([]*os.File, error) {
	err := decode(f.body, out)
	files := filesOf(f.fds)
	f.release()
	k.free()
	if err != nil {
		closeFiles(files)
		return nil, fmt.Errorf("result: %w", err)
	}
	return files, nil
}

// callMessage is a call, but for its id. The caller frees it, also on an error.
func callMessage(ctx context.Context, method string, in any) (*message, error) {
	m := newMessage()
	m.line(ctx, method)
	if len(m.buf)-headerSize > maxMethod {
		return m, fmt.Errorf("method name too long: %w", fs.ErrInvalid)
	}
	if err := m.add(in); err != nil {
		return m, fmt.Errorf("parameters: %w", err)
	}
	return m, checkEncoded(m.buf, in)
}

// fits tells whether the server takes a frame. What every server takes does not
// wait for its hello.
func (c *Client) fits(ctx context.Context, body, files int) error {
	select {
	case <-c.ready:
	default:
		if body <= leastBody && files <= leastFiles {
			return nil
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-c.done:
		return nil // register knows why
	default:
		return c.conn.fits(body, files)
	}
}

// item hands one item on and gives its bytes back to the server.
func (c *Client) item(id uint64, k *call, f *frame, item func([]byte, []*os.File) error) error {
	size := headerSize + len(f.body)
	if item != nil {
		files := filesOf(f.fds)
		f.fds = nil
		err := item(f.body, files)
		closeFiles(files)
		if err != nil {
			f.release()
			return err
		}
	}
	f.discard()
	if k.used += size; k.used < window/2 {
		return nil
	}
	m := newMessage()
	defer m.free()
	if err := m.add(k.used); err != nil {
		return err
	}
	k.used = 0
	c.conn.w.post(m.frame(kindCredit, id, 0))
	return nil
}

// register makes a call known to the reader.
func (c *Client) register() (uint64, *call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, nil, fs.ErrClosed
	case c.drain:
		return 0, nil, errDraining()
	case c.err != nil && !c.met:
		return 0, nil, c.err // says that nothing is executed, and why
	case c.err != nil:
		return 0, nil, &Error{Code: CodeUnavailable, Message: "not sent: " + c.err.Error()}
	}
	k := newCall()
	c.last++
	c.calls[c.last] = k
	c.conn.w.crowd.Store(int32(len(c.calls)))
	return c.last, k, nil
}

func errDraining() error {
	return &Error{Code: CodeUnavailable, Message: "the server is shutting down"}
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
}

// cancel gives a call up. Frames that still come for it are dropped.
func (c *Client) cancel(id uint64, k *call) {
	c.forget(id)
	k.discard()
	m := newMessage()
	defer m.free()
	c.conn.w.post(m.frame(kindCancel, id, 0))
}

// run reads until the connection ends. The error is that of our hello: a peer that was
// gone by then may have said why in its own, which comes first.
func (c *Client) run(err error) {
	if sent := err; err == nil || errors.Is(err, errBroken) {
		err = cmp.Or(c.conn.meet(), sent)
	}
	c.met = err == nil
	if c.met {
		close(c.ready)
		for err == nil {
			err = c.read()
		}
	}
	c.end(err)
	close(c.done)
	if !c.met {
		close(c.ready)
	}
}

// read handles one frame.
func (c *Client) read() error {
	f, err := c.conn.r.next()
	if err != nil {
		return err
	}
	c.mu.Lock()
	k := c.calls[f.id]
	switch f.kind {
	case kindResult, kindError:
		delete(c.calls, f.id)
		c.conn.w.crowd.Store(int32(len(c.calls)))
	case kindItem:
	case kindDrain:
		c.drain = true
	case kindBye:
		c.bye = true
	default:
		err = fmt.Errorf("%w: frame of kind %d from a server", errProtocol, f.kind)
	}
	c.mu.Unlock()
	if k == nil || f.id == 0 || err != nil {
		f.discard()
		return err
	}
	return k.push(f)
}

// end fails every call. A server that was not met has executed none: its hello
// comes before it reads.
func (c *Client) end(err error) {
	c.conn.r.close()
	err = c.conn.cause(err)
	cerr := c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		err = fs.ErrClosed
	case c.bye:
		err = errDraining()
	case !c.met && ended(err):
		err = &Error{Code: CodeUnavailable, Message: "not executed: the server hung up instead of greeting; it may not admit this process"}
	case !c.met:
		err = notMet(errors.Join(err, cerr))
	default:
		err = fmt.Errorf("%w: %w", ErrLost, errors.Join(err, cerr))
	}
	c.err = err
	for id, k := range c.calls {
		delete(c.calls, id)
		k.fail(err)
	}
}

// notMet is every call on a connection whose server is there and did not greet as
// it should: in time, or in our version of the wire.
func notMet(cause error) error {
	e := &Error{Code: CodeUnavailable, Message: "not executed: " + cause.Error()}
	switch {
	case errors.Is(cause, os.ErrDeadlineExceeded):
		e.addCode(CodeSilent)
	case errors.Is(cause, errors.ErrUnsupported):
		e.addCode(CodeUnsupported)
	}
	return e
}
