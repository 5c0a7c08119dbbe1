package ipc

import "sync"

// idleMax is how many workers of a server wait for the next call.
const idleMax = 128

// workers are the goroutines that serve calls, of all connections of a server.
// Those that are idle keep the stack that JSON needs; a new goroutine would have
// to grow it for each call.
type workers struct {
	mu   sync.Mutex
	idle []chan *Request // who was used last is used first
}

// start serves r, whose session counts it.
func (w *workers) start(r *Request) {
	w.mu.Lock()
	last := len(w.idle) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.work(r)
		return
	}
	next := w.idle[last]
	w.idle = w.idle[:last]
	w.mu.Unlock()
	next <- r
}

func (w *workers) work(r *Request) {
	next := make(chan *Request, 1)
	for r != nil {
		s := r.session
		s.serve(r)
		// First idle, then done: when a session has ended, what worked for it can be
		// dismissed.
		idle := w.wait(next)
		s.wg.Done()
		if !idle {
			return
		}
		r = <-next
	}
}

// wait makes a worker idle, unless enough are.
func (w *workers) wait(next chan *Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) >= idleMax {
		return false
	}
	w.idle = append(w.idle, next)
	return true
}

// dismiss ends who is idle.
func (w *workers) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
}
