// Package flight shares work between those who want the same thing at the same
// time: the first one starts it, later ones join, all see its progress, and it
// is cancelled when the last of them has gone.
package flight

import (
	"context"
	"sync"
)

// Group shares work by key; events of type E tell how it goes. The zero value
// is ready. A Group may be used by many goroutines at once.
type Group[K comparable, E any] struct {
	mu    sync.Mutex
	calls map[K]*call[E]
}

type call[E any] struct {
	done   chan struct{} // closed when err is set and the work has ended
	err    error
	cancel context.CancelFunc

	waiters int // guarded by Group.mu; at 0 the call is abandoned, nobody may join

	mu       sync.Mutex // serialises events
	watchers map[*func(E)]struct{}
	last     E
	started  bool // last is set
}

// Do runs fn, unless work for the key is under way, which it then joins. It
// returns what fn returned, or the cause of ctx's end. The context of fn ends
// only when nobody waits any more; the last to leave waits until fn has
// returned, so that nothing runs on behind its back.
//
// watch, which may be nil, is given the events that fn emits, one at a time,
// starting with the newest there is; none after Do has returned. It must not
// block.
func (g *Group[K, E]) Do(ctx context.Context, key K, watch func(E), fn func(ctx context.Context, emit func(E)) error) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		c, joined := g.join(ctx, key, fn)
		if !joined { // abandoned, ending: wait for it, then start anew
			select {
			case <-c.done:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		unwatch := c.watch(watch)
		select {
		case <-c.done:
			g.leave(c)
			unwatch()
			return c.err
		case <-ctx.Done():
			if g.leave(c) {
				<-c.done
			}
			unwatch()
			return context.Cause(ctx)
		}
	}
}

// join adds a waiter to the call of the key, starting one if there is none.
func (g *Group[K, E]) join(ctx context.Context, key K, fn func(context.Context, func(E)) error) (c *call[E], joined bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, ok := g.calls[key]; ok {
		if c.waiters == 0 {
			return c, false
		}
		c.waiters++
		return c, true
	}
	workCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c = &call[E]{done: make(chan struct{}), cancel: cancel, waiters: 1, watchers: map[*func(E)]struct{}{}}
	if g.calls == nil {
		g.calls = map[K]*call[E]{}
	}
	g.calls[key] = c
	go func() {
		err := fn(workCtx, c.emit)
		cancel()
		g.mu.Lock()
		delete(g.calls, key)
		g.mu.Unlock()
		c.err = err
		close(c.done)
	}()
	return c, true
}

// leave takes a waiter off; the last one cancels the work.
func (g *Group[K, E]) leave(c *call[E]) (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.waiters--
	if c.waiters == 0 {
		c.cancel()
	}
	return c.waiters == 0
}

func (c *call[E]) emit(e E) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.started = e, true
	for w := range c.watchers {
		(*w)(e)
	}
}

func (c *call[E]) watch(w func(E)) (unwatch func()) {
	if w == nil {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[&w] = struct{}{}
	if c.started {
		w(c.last)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, &w)
	}
}
