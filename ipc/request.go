package ipc

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
)

// A Handler answers one call. Its context ends when the client cancels the
// call or goes away, when the client's deadline passes, and when the server is
// stopped. Handlers run concurrently, also those of one connection.
//
// Arguments are lent, results are given: r.Files are closed when the handler
// has returned (keep a [Dup]); files that it returns are closed once sent.
type Handler func(ctx context.Context, r *Request) (out any, files []*os.File, err error)

// A Request is one call. It is not used after its handler has returned.
type Request struct {
	Method string
	Params []byte // JSON, empty for none
	Files  []*os.File
	Peer   Peer

	id      uint64
	ctx     context.Context
	cancel  context.CancelFunc
	session *session
	frame   frame

	mu     sync.Mutex
	credit int           // bytes of items that the client takes
	more   chan struct{} // a token when credit has grown; nil until somebody waits
}

// Decode stores the parameters in v, a pointer. Fields that v does not have, of
// [CodeNoField], and strings that are not UTF-8 are an error, so that nothing a client
// asks for is ignored or changed.
func (r *Request) Decode(v any) error {
	err := decodeStrict(r.Params, v)
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeInvalid, Op: "decode", Object: r.Method, Message: fmt.Sprintf("parameters of %s: %v", r.Method, err)}
	if strings.HasPrefix(err.Error(), "json: unknown field ") { // it has no type
		e.Code, e.Also = CodeNoField, []string{CodeInvalid, CodeUnsupported}
	}
	return e
}

// Emit sends one item of a stream, and waits while the client is slow. The
// files are lent. Safe for concurrent use. An error is the end of the call.
func (r *Request) Emit(item any, files ...*os.File) error {
	m := newMessage()
	defer m.free()
	if err := m.add(item); err != nil {
		return fmt.Errorf("item of %s: %w", r.Method, err)
	}
	c := r.session.conn
	if err := c.fits(m.body(), len(files)); err != nil {
		return err
	}
	if err := r.pay(len(m.buf)); err != nil {
		return err
	}
	return c.w.send(r.ctx, m.frame(kindItem, r.id, len(files)), files)
}

// pay waits until there is credit, and takes size bytes of it. The last item
// may overdraw it, so that one larger than the window can be sent.
func (r *Request) pay(size int) error {
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		r.mu.Lock()
		if r.credit > 0 {
			r.credit -= size
			if r.credit > 0 {
				r.signal() // for another Emit that waits
			}
			r.mu.Unlock()
			return nil
		}
		if r.more == nil {
			r.more = make(chan struct{}, 1)
		}
		more := r.more
		r.mu.Unlock()
		select {
		case <-more:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

// grant is a credit frame.
func (r *Request) grant(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n <= 0 || n > creditMax || r.credit > creditMax {
		return fmt.Errorf("%w: credit of %d bytes", errProtocol, n)
	}
	r.credit += n
	r.signal()
	return nil
}

const creditMax = 1 << 30 // bytes

// signal wakes one Emit that waits. The caller holds the lock.
func (r *Request) signal() {
	select {
	case r.more <- struct{}{}:
	default: // nobody waits, or the token is there already
	}
}
