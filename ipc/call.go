package ipc

import (
	"context"
	"fmt"
	"sync"
)

// window is how many bytes of items, headers included, a client of this package
// takes without having granted a credit.
const window = 256 << 10

// call is a call on the client's side: the frames that came for it and that its
// caller has not taken yet.
type call struct {
	ready chan struct{} // a token when there is something to take
	used  int           // bytes of items taken and not given back; the caller's

	mu    sync.Mutex
	queue []frame
	head  int // of queue
	bytes int // of items in queue
	gone  bool
	err   error
}

var calls = sync.Pool{New: func() any { return &call{ready: make(chan struct{}, 1)} }}

func newCall() *call {
	return calls.Get().(*call)
}

// free gives the call back once its last frame was taken: nobody else has it.
func (k *call) free() {
	k.mu.Lock() // the reader may still be about to unlock it
	k.used, k.bytes, k.head, k.queue = 0, 0, 0, k.queue[:0]
	k.mu.Unlock()
	calls.Put(k)
}

// push is the reader's. A server that sends more than it was granted is not
// one of this wire.
func (k *call) push(f frame) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		f.discard()
		return nil
	}
	if f.kind == kindItem {
		if k.bytes > window {
			f.discard()
			return fmt.Errorf("%w: items beyond the window", errProtocol)
		}
		k.bytes += headerSize + len(f.body)
	}
	k.queue = append(k.queue, f)
	k.signal()
	return nil
}

func (k *call) signal() {
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

func (k *call) fail(err error) {
	k.mu.Lock()
	k.err = err
	k.signal()
	k.mu.Unlock()
}

// next returns the next frame, and the connection's error after the last.
func (k *call) next(ctx context.Context) (frame, error) {
	for {
		k.mu.Lock()
		if k.head < len(k.queue) {
			f := k.queue[k.head]
			k.queue[k.head] = frame{}
			if k.head++; k.head == len(k.queue) {
				k.queue, k.head = k.queue[:0], 0
			}
			if f.kind == kindItem {
				k.bytes -= headerSize + len(f.body)
			}
			k.mu.Unlock()
			return f, nil
		}
		err := k.err
		k.mu.Unlock()
		if err != nil {
			return frame{}, err
		}
		select {
		case <-k.ready:
		case <-ctx.Done():
			return frame{}, ctx.Err()
		}
	}
}

// discard drops what came and what may still come.
func (k *call) discard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	for i := k.head; i < len(k.queue); i++ {
		k.queue[i].discard()
	}
	k.queue = nil
}
