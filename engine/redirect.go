package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/proxy"
)

// What a container publishes is changed while it runs by saying to the host what
// is to be published, whole, and then recording it. A crash in between is mended
// by the next engine, which says it again from the record.

// PublishPorts implements api.Ports.
func (e *Engine) PublishPorts(ctx context.Context, name string, ports []api.Port) ([]api.Port, error) {
	var added []api.Port
	err := e.changePorts(ctx, name, func(ctx context.Context, c *container, has []api.Port) (p published, gone []string, err error) {
		if len(ports) == 0 {
			return p, nil, fmt.Errorf("no port to publish: %w", fs.ErrInvalid)
		}
		var want []api.Port
		for _, port := range ports {
			list, err := checkPort(port, c.plan.Spec.NoLocalProxy)
			if err != nil {
				return p, nil, err
			}
			want = append(want, list...)
		}
		switch {
		case len(c.plan.Networks) == 0:
			return p, nil, fmt.Errorf("published port %s: %w: the container is on no network", ports[0], fs.ErrInvalid)
		case len(has)+len(want) > maxPublished:
			return p, nil, fmt.Errorf("%d published ports: %w: %d at the most", len(has)+len(want), fs.ErrInvalid, maxPublished)
		}
		if p, err = e.choosePorts(ctx, c, want, has); err == nil {
			added = p.ports[len(has):]
		}
		return p, nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("publish ports of container %s: %w", name, err)
	}
	return added, nil
}

// UnpublishPorts implements api.Ports.
func (e *Engine) UnpublishPorts(ctx context.Context, name string, ports []api.Port) error {
	err := e.changePorts(ctx, name, func(ctx context.Context, c *container, has []api.Port) (p published, gone []string, err error) {
		left := slices.Clone(has)
		for _, port := range ports {
			i := slices.IndexFunc(left, func(h api.Port) bool {
				return h.Protocol == port.Proto() && h.HostPort == port.HostPort && (!port.Host.IsValid() || h.Host == port.Host)
			})
			if i < 0 {
				return p, nil, fmt.Errorf("port %s/%s of the host: %w: the container does not publish it", port.HostRange(), port.Proto(), fs.ErrNotExist)
			}
			gone = append(gone, left[i].String())
			left = slices.Delete(left, i, i+1)
		}
		p, err = e.choosePorts(ctx, c, nil, left)
		return p, gone, err
	})
	if err != nil {
		return fmt.Errorf("unpublish ports of container %s: %w", name, err)
	}
	return nil
}

// changePorts gives a running container the ports that choose chooses, and closes
// the sockets of those in gone.
func (e *Engine) changePorts(ctx context.Context, name string, choose func(context.Context, *container, []api.Port) (p published, gone []string, err error)) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	c, release, err := e.holdNamed(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	st, _ := c.get()
	loop := c.running()
	if st.Phase != api.StateRunning || loop == nil {
		return fmt.Errorf("%w: it does not run", fs.ErrNotExist)
	}
	p, gone, err := choose(ctx, c, st.Ports)
	if err == nil {
		defer p.close()
		err = e.applyPorts(ctx, c, p, gone)
	}
	if err != nil {
		return errors.Join(err, e.republish(ctx, c, st.Ports))
	}
	st.Ports = p.ports
	return e.save(ctx, c, st, loop)
}

// applyPorts tells the host, after journaling how it is undone.
func (e *Engine) applyPorts(ctx context.Context, c *container, p published, gone []string) error {
	s := e.site(c.id)
	pending, err := s.Run.Pending(ctx)
	if err != nil {
		return err
	}
	undos := slices.DeleteFunc(e.host.PublishUndos(c.id), func(u site.Undo) bool {
		return slices.ContainsFunc(pending, func(has site.Undo) bool { return has.Kind == u.Kind })
	})
	if err := s.Run.Plan(ctx, undos...); err != nil {
		return err
	}
	e.trace("publish before")
	defer e.trace("publish after")
	return e.host.Republish(ctx, c.id, p.redirects, p.forwards, gone...)
}

// republish makes what is published on the host what it is to be, whatever it is:
// after a crash, or when somebody has flushed the rules or killed the proxy.
func (e *Engine) republish(ctx context.Context, c *container, ports []api.Port) error {
	pending, err := e.site(c.id).Run.Pending(ctx)
	if err != nil {
		return err
	}
	undos := e.host.PublishUndos(c.id)
	if !slices.ContainsFunc(pending, func(u site.Undo) bool { return u.Kind == undos[0].Kind || u.Kind == undos[1].Kind }) {
		return nil // it has never published any
	}
	served, err := e.host.Served(ctx, c.id)
	if err != nil {
		return err
	}
	e.ports.mu.Lock()
	e.ports.set(c.id, ports)
	e.ports.mu.Unlock()
	p := published{ports: ports}
	defer p.close()
	to := e.targets(c)
	var gone []string
	for key := range served {
		if !slices.ContainsFunc(ports, func(port api.Port) bool { return port.String() == key }) {
			gone = append(gone, key)
		}
	}
	if !c.plan.Spec.NoLocalProxy {
		for _, port := range ports {
			if _, ok := served[port.String()]; ok || !proxied(port) {
				continue
			}
			var more []proxy.Forward
			more, err = listenOn(port, to)
			p.forwards = append(p.forwards, more...)
			if err != nil {
				return err
			}
		}
	}
	if err := e.redirects(ctx, c, &p, to); err != nil {
		return err
	}
	return e.host.Republish(ctx, c.id, p.redirects, p.forwards, gone...)
}

// PublishedPorts implements api.Ports.
func (e *Engine) PublishedPorts(ctx context.Context, name string) ([]api.PublishedPort, error) {
	c, err := e.find(ctx, name)
	if err != nil {
		return nil, err
	}
	st, _ := c.get()
	list := []api.PublishedPort{}
	if st.Phase != api.StateRunning || len(st.Ports) == 0 {
		return list, nil
	}
	served, err := e.host.Served(ctx, c.id)
	if err != nil {
		return nil, fmt.Errorf("published ports of container %s: %w", c.name(), err)
	}
	redirected, err := e.redirected(ctx, c, st.Ports)
	if err != nil {
		return nil, fmt.Errorf("published ports of container %s: %w", c.name(), err)
	}
	for i, port := range st.Ports {
		list = append(list, api.PublishedPort{Port: port, Redirected: redirected[i], Local: served[port.String()]})
	}
	return list, nil
}

// redirected counts the calls from outside, for each port.
func (e *Engine) redirected(ctx context.Context, c *container, ports []api.Port) ([]uint64, error) {
	counts, err := e.host.Redirected(c.id)
	if err != nil {
		return nil, err
	}
	p := published{ports: ports}
	if err := e.redirects(ctx, c, &p, e.targets(c)); err != nil && !errors.Is(err, host.ErrNotForwarding) {
		return nil, err
	}
	out := make([]uint64, len(ports))
	for i, n := range counts {
		if i < len(p.redirOf) {
			out[p.redirOf[i]] += n
		}
	}
	return out, nil
}
