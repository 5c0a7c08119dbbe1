package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/site/control"
)

// Commands before main and after it: the run loop runs them; what is here plans
// them, and ends a start that they hold up.

// deinitTimeout is how long deinit commands may take where nobody says, in seconds.
const deinitTimeout = 10

// planCommands takes the init and deinit commands of a spec.
func (p *plan) planCommands() error {
	p.DeinitTimeout = deinitTimeout
	if t := p.Spec.DeinitTimeout; t != nil {
		p.DeinitTimeout = *t
		if *t < 1 || *t > maxTimeout {
			return fmt.Errorf("deinit timeout of %d seconds: %w: 1 to %d", *t, fs.ErrInvalid, maxTimeout)
		}
	}
	for kind, list := range map[string]*[]api.Command{"init": p.Spec.InitCommands, "deinit": p.Spec.DeinitCommands} {
		if list != nil && slices.ContainsFunc(*list, func(c api.Command) bool { return len(c.Args) == 0 || c.Args[0] == "" }) {
			return fmt.Errorf("%s command: %w: it names no program", kind, fs.ErrInvalid)
		}
	}
	if list := p.Spec.InitCommands; list != nil {
		p.Init = *list
	}
	if list := p.Spec.DeinitCommands; list != nil {
		p.Deinit = *list
	}
	return nil
}

// imageCommands takes those of an image's extension where the spec has none. Whoever
// says which user is to run the image means its commands as well.
func (p *plan) imageCommands(x *image.Extension) {
	take := func(list []image.Command) (out []api.Command) {
		for _, c := range list {
			if p.Spec.User != "" {
				c.User = ""
			}
			out = append(out, api.Command(c))
		}
		return out
	}
	if p.Spec.InitCommands == nil {
		p.Init = take(x.Init)
	}
	if p.Spec.DeinitCommands == nil {
		p.Deinit = take(x.Deinit)
	}
	if p.Spec.DeinitTimeout == nil && x.DeinitTimeout != 0 {
		p.DeinitTimeout = x.DeinitTimeout
	}
}

// checkDeinit refuses a time for deinit commands that there are none of. The image's
// own is another matter: who makes the container may leave its commands out.
func (p *plan) checkDeinit() error {
	if p.Spec.DeinitTimeout != nil && len(p.Deinit) == 0 {
		return fmt.Errorf("deinit timeout of %d seconds: %w: there are no deinit commands", *p.Spec.DeinitTimeout, fs.ErrInvalid)
	}
	return nil
}

// commandWords are all that a spec's commands say.
func commandWords(lists ...*[]api.Command) (out []string) {
	for _, list := range lists {
		if list == nil {
			continue
		}
		for _, c := range *list {
			out = append(append(out, c.Args...), c.User)
		}
	}
	return out
}

func commands(list []api.Command) (out []control.Command) {
	for _, c := range list {
		out = append(out, control.Command(c))
	}
	return out
}

// starting bounds the start of main. Init commands take as long as they take, and
// end with the engine, or by who asks for the container's end.
func (e *Engine) starting(ctx context.Context, c *container, loop *host.Loop) (context.Context, context.CancelFunc) {
	if len(c.plan.Init) == 0 {
		return context.WithTimeout(ctx, startTime)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(e.ctx, func() { cancel(errClosed) })
	c.setInit(loop)
	return ctx, func() {
		c.setInit(nil)
		unwatch()
		cancel(nil)
	}
}

// setInit notes who runs init commands.
func (c *container) setInit(loop *host.Loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.init = loop
	close(c.changed)
	c.changed = make(chan struct{})
}

// initializing returns the run loop of a container whose init commands are run,
// or nil.
func (c *container) initializing() *host.Loop {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init
}

// initEvery is how often init commands are asked to end that do not seem to run:
// the first is about to.
const initEvery = 20 * time.Millisecond

// turnOver is turn for those who do not want the container to run: they do not wait
// for init commands, but end them.
func (e *Engine) turnOver(ctx context.Context, c *container, end func(control.Control) error) (release func(), err error) {
	for {
		c.mu.Lock()
		loop, changed := c.init, c.changed
		c.mu.Unlock()
		var again <-chan time.Time
		if loop != nil {
			if err := end(loop.Control); err != nil && !lostLoop(err) && !errors.Is(err, control.ErrNotRunning) {
				return nil, err
			}
			again = time.After(initEvery)
		}
		select {
		case c.turn <- struct{}{}:
			return func() { <-c.turn }, nil
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil, fmt.Errorf("container %s is busy: %w", c.name(), ctx.Err())
		}
	}
}
