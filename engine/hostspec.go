package engine

import (
	"encoding/json"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/site/control"
	"github.com/joyboyid/xc/site/runloop"
)

// hostSpec is a container as the host is told of it.
func (e *Engine) hostSpec(c *container) host.Spec {
	s := host.Spec{
		ID: c.id, Chain: c.plan.Chain, Dir: c.plan.Spec.Rootfs, ReadOnly: c.plan.Spec.ReadOnly, Volatile: c.plan.Spec.AutoRemove,
		Hostname: c.plan.Hostname, Network: c.plan.Network, Linux: c.plan.Linux, Program: c.plan.Args[0], Log: e.logPath(c.id),
		Params: c.plan.Spec.Params, Datasets: c.plan.Spec.Datasets, Limits: hostLimits(c.plan.Spec.Limits),
	}
	s.Interfaces = interfaces(e.connections(c))
	for _, m := range c.plan.Spec.Mounts {
		s.Mounts = append(s.Mounts, hostMount(m))
	}
	s.Mounts = append(s.Mounts, e.nameMounts(c)...)
	return s
}

func hostLimits(l api.Limits) host.Limits {
	return host.Limits{Memory: l.Memory, CPUs: l.CPUs, Pids: l.Pids, Each: ulimits(l.Ulimits)}
}

func ulimits(list []api.Ulimit) []control.Ulimit {
	out := make([]control.Ulimit, 0, len(list))
	for _, u := range list {
		out = append(out, control.Ulimit(u))
	}
	return out
}

// loopConfig is the run loop's configuration, but for its tenant's.
func (e *Engine) loopConfig(c *container) func(tenant json.RawMessage) runloop.Config {
	return func(tenant json.RawMessage) runloop.Config {
		return runloop.Config{
			ID: c.id, Dir: e.siteDir(c.id), LogPath: e.logPath(c.id), LogMax: e.cfg.LogMax, LogFiles: e.cfg.LogFiles,
			Tenant: tenant,
		}
	}
}
