package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrArriving is the error of Unroll where it read a blob while that was being
// staged, and did not come to an end. It says nothing about the blob: once that
// is there, Unroll again.
var ErrArriving = errors.New("the blob was still arriving")

// arrival is how far a blob has come.
type arrival struct {
	mu    sync.Mutex
	moved sync.Cond
	n     int64 // bytes of the partial file that may be read
	state arrivalState
}

type arrivalState int

const (
	arriving arrivalState = iota
	arrived               // verified and visible
	gone                  // closed, discarded or begun anew
)

func newArrival(n int64) *arrival {
	a := &arrival{n: n}
	a.moved.L = &a.mu
	return a
}

// advance tells the followers. What has ended stays so.
func (a *arrival) advance(n int64, state arrivalState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state == arriving {
		a.n, a.state = n, state
		a.moved.Broadcast()
	}
}

// wait returns when there are more than n bytes or the arrival has ended.
func (a *arrival) wait(ctx context.Context, n int64) (int64, arrivalState, error) {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.moved.Broadcast()
	})
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.n <= n && a.state == arriving && ctx.Err() == nil {
		a.moved.Wait()
	}
	return a.n, a.state, context.Cause(ctx)
}

// follow opens a blob that is being staged, to be read behind the writer. The
// end of the file comes only when the blob has been verified, or when it never
// will be: the bytes are to be believed only if finish, which waits for that and
// is called after the file was closed, returns nil. The error for a blob that
// nobody stages matches fs.ErrNotExist.
func (s *Store) follow(ctx context.Context, desc ispec.Descriptor) (r *os.File, finish func() error, err error) {
	s.mu.Lock()
	a := s.staged[desc.Digest]
	s.mu.Unlock()
	if a == nil {
		return nil, nil, fmt.Errorf("follow blob %s: %w", desc.Digest, fs.ErrNotExist)
	}
	f, err := os.Open(s.partial(desc.Digest))
	if err != nil { // it has just been committed or discarded
		return nil, nil, fmt.Errorf("follow blob: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	done := make(chan error, 1)
	go func() {
		err := a.copy(ctx, w, f)
		done <- errors.Join(err, w.Close(), f.Close())
	}()
	return r, func() error { return <-done }, nil
}

// copy writes what arrives of the file until all of it has.
func (a *arrival) copy(ctx context.Context, w io.Writer, f io.Reader) error {
	for pos := int64(0); ; {
		n, state, err := a.wait(ctx, pos)
		if err != nil {
			return err
		}
		if state == gone {
			return ErrArriving
		}
		m, err := io.CopyN(w, f, n-pos)
		if err != nil {
			return err
		}
		if pos += m; state == arrived {
			return nil
		}
	}
}
