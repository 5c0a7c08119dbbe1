package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Retry says how long to keep trying. Zero values are replaced by defaults.
type Retry struct {
	Attempts int           // in a row, without progress; 6 if 0
	Base     time.Duration // wait after the first failure, doubled each time, with jitter; 250 ms if 0
	Max      time.Duration // longest wait, also of those that a server asks for; 30 s if 0
	Stall    time.Duration // give a connection up that delivers nothing for so long; 60 s if 0
}

// enough is the progress, in bytes, after which attempts are counted anew: a
// large blob may take more interruptions than a small one.
const enough = 1 << 20

var errStalled = errors.New("connection stalled")

// do runs try until it succeeds or fails for good. try returns by how many bytes
// it has advanced, and calls alive whenever something has arrived.
func (r Retry) do(ctx context.Context, try func(ctx context.Context, alive func()) (int64, error)) error {
	attempts, wait, longest := or(r.Attempts, 6), or(r.Base, 250*time.Millisecond), or(r.Max, 30*time.Second)
	for failed := 0; ; {
		n, err := r.once(ctx, try)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if !transient(err) {
			return err
		}
		if n >= enough {
			failed = 0
		}
		if failed++; failed >= attempts {
			return fmt.Errorf("%w (gave up after %d attempts)", err, failed)
		}
		pause := min(wait<<min(failed-1, 16), longest)
		pause = pause/2 + rand.N(pause/2+1)
		var status *StatusError
		if errors.As(err, &status) && status.RetryAfter > pause {
			if pause = status.RetryAfter; pause > longest {
				return err
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// once is one attempt, which ends when nothing arrives any more.
func (r Retry) once(ctx context.Context, try func(ctx context.Context, alive func()) (int64, error)) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := or(r.Stall, time.Minute)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	n, err := try(ctx, func() { timer.Reset(stall) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = fmt.Errorf("%w: nothing for %s", errStalled, stall)
	}
	return n, err
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// transient tells whether trying again may help.
func transient(err error) bool {
	if errors.Is(err, errLost) {
		return true
	}
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code >= 500 && status.Code != http.StatusNotImplemented ||
			status.Code == http.StatusTooManyRequests || status.Code == http.StatusRequestTimeout
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary || dns.IsTimeout
	}
	for _, e := range []error{
		errStalled, errLost, errShort, errPastEnd, errRange, io.ErrUnexpectedEOF, io.EOF,
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}
