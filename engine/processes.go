package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/proc"
)

// ContainerProcesses implements api.Containers.
func (e *Engine) ContainerProcesses(ctx context.Context, name string) ([]api.Process, error) {
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	st, err := loop.Control.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("processes of container %s: %w", c.name(), askError(loop, err))
	}
	slices.Sort(st.PIDs)
	list := []api.Process{}
	for _, pid := range st.PIDs {
		p, err := proc.Read(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("processes of container %s: %w", c.name(), err)
		}
		list = append(list, api.Process{
			PID: p.PID, Parent: p.Parent, UID: p.UID, State: string(p.State), Threads: p.Threads,
			CPU: p.CPU.Seconds(), Waited: p.Waited.Seconds(), Memory: p.Memory, Started: p.Started.UTC(), Name: p.Name, Args: p.Args,
		})
	}
	return list, nil
}

// ContainerUsage implements api.Containers.
func (e *Engine) ContainerUsage(ctx context.Context, name string) (api.Usage, error) {
	c, loop, err := e.running(ctx, name)
	if err != nil {
		return api.Usage{}, fmt.Errorf("usage: %w", err)
	}
	st, err := loop.Control.State(ctx)
	if err != nil {
		return api.Usage{}, fmt.Errorf("usage of container %s: %w", c.name(), askError(loop, err))
	}
	u, err := e.host.Usage(e.hostSpec(c), st.PIDs)
	if err != nil {
		return api.Usage{}, fmt.Errorf("usage of container %s: %w", c.name(), err)
	}
	return api.Usage{
		CPUTime: u.CPU.Seconds(), Memory: u.Memory, Processes: u.Processes, Threads: u.Threads,
		Read: u.IO.Read, Written: u.IO.Written, Rates: (*api.Rates)(u.Rates), Missing: u.Missing,
	}, nil
}
