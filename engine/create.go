package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
)

// Names are what Docker accepts: they appear in host names, paths and
// messages.
var nameRule = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)

// hostRule is what sethostname(2) and RFC 1123 agree on; the kernels take 63.
var hostRule = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$`)

// CreateContainer implements api.Containers.
func (e *Engine) CreateContainer(ctx context.Context, spec api.ContainerSpec) (api.Container, error) {
	if err := e.begin(); err != nil {
		return api.Container{}, err
	}
	defer e.end()
	p, id, release, err := e.planContainer(ctx, spec)
	made := false
	defer func() {
		if !made && id != "" {
			e.leaveNetworks(id)
		}
	}()
	defer release() // the record says from then on that the image is in use
	if err != nil {
		return api.Container{}, fmt.Errorf("create container: %w", err)
	}
	opened, err := openSources(p.Spec.Mounts)
	if err == nil {
		err = e.needVolumes(context.WithoutCancel(ctx), &p)
	}
	if err != nil {
		closeFiles(opened)
		return api.Container{}, fmt.Errorf("create container: %w", err)
	}
	c := newContainer(id, time.Now().UTC(), p, state{Phase: phaseCreating})
	c.opened = opened
	c.op <- struct{}{} // whoever finds the record waits until it is complete
	defer func() { <-c.op }()
	// From here on the caller's patience does not matter: half a container
	// is of no use to anybody.
	if err := e.create(context.WithoutCancel(ctx), c); err != nil {
		c.closeOpened()
		return api.Container{}, fmt.Errorf("create container %s: %w", p.Name, err)
	}
	made = true
	return e.describe(c), nil
}

// create claims the name, acquires what the container holds, and commits by
// the record's phase.
func (e *Engine) create(ctx context.Context, c *container) error {
	if err := e.claim(ctx, c.name(), func() error { return e.insert(ctx, c) }); err != nil {
		return err
	}
	s := e.site(c.id)
	if err := s.Held.Acquire(ctx, slices.Concat(e.claimSteps(c), e.holdSteps(c))); err != nil {
		return errors.Join(err, e.forget(ctx, c))
	}
	if err := e.save(ctx, c, state{Phase: api.StateCreated}, nil, c.event(api.EventCreate)); err != nil {
		return errors.Join(err, s.Held.Unwind(ctx), e.forget(ctx, c))
	}
	return nil
}

// claim claims a name by the record that take writes. A container that has the
// name and is removing itself is waited for.
func (e *Engine) claim(ctx context.Context, name string, take func() error) error {
	for {
		err := take()
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		holder, ferr := e.find(ctx, name)
		if errors.Is(ferr, fs.ErrNotExist) {
			_, ferr = e.db.Container(ctx, name)
			switch {
			case errors.Is(ferr, fs.ErrNotExist):
				continue // gone meanwhile
			case ferr == nil: // a record that could not be read, or not be removed
				return err
			}
		}
		if ferr != nil {
			return ferr
		}
		if left, gerr := e.gone(ctx, holder); gerr != nil || !left {
			return errors.Join(err, gerr)
		}
	}
}

// insert records a new container.
func (e *Engine) insert(ctx context.Context, c *container) error {
	p, err := json.Marshal(c.plan)
	if err != nil {
		return err
	}
	st, err := json.Marshal(c.state)
	if err != nil {
		return err
	}
	e.trace("record create before")
	defer e.trace("record create after")
	err = e.db.CreateContainer(ctx, store.Container{ID: c.id, Name: c.name(), Created: c.created, Spec: p, State: st})
	if err != nil {
		return err
	}
	e.mu.Lock()
	if err = e.haveVolumesLocked(&c.plan); err == nil {
		err = e.haveDatasetsLocked(&c.plan)
	}
	if err == nil {
		e.containers[c.id] = c
	}
	e.mu.Unlock()
	if err != nil {
		return errors.Join(err, e.db.RemoveContainer(ctx, c.id))
	}
	return nil
}

// save records a change of state, with what has happened, and publishes it.
func (e *Engine) save(ctx context.Context, c *container, st state, loop *host.Loop, happened ...api.Event) error {
	events, err := rows(happened)
	if err != nil {
		return err
	}
	return e.record(c, st, loop, func(b []byte) error {
		return e.db.UpdateContainer(ctx, c.id, b, c.lasting(st.Phase), events...)
	})
}

// record publishes a change of state once write has recorded it.
func (e *Engine) record(c *container, st state, loop *host.Loop, write func(state []byte) error) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	e.trace("record " + st.Phase + " before")
	defer e.trace("record " + st.Phase + " after")
	if err := write(b); err != nil {
		return err
	}
	c.set(st, loop)
	return nil
}

// forget removes the record of a container that holds nothing any more.
func (e *Engine) forget(ctx context.Context, c *container) error {
	st, _ := c.get()
	var happened []api.Event
	if st.Phase != phaseCreating { // else nobody has seen it
		happened = append(happened, c.event(api.EventRemove))
	}
	events, err := rows(happened)
	if err != nil {
		return err
	}
	e.trace("record remove before")
	defer e.trace("record remove after")
	if err := e.db.RemoveContainer(ctx, c.id, events...); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.containers, c.id)
	e.mu.Unlock()
	e.leaveNetworks(c.id)
	c.closeOpened()
	st.Phase = phaseRemoved
	c.set(st, nil)
	return nil
}

// planContainer checks a spec, looks everything up, and chooses the id, which is
// "" where it did not come to that. The caller releases the lease on its image.
func (e *Engine) planContainer(ctx context.Context, spec api.ContainerSpec) (p plan, id string, release func(), err error) {
	p = plan{Spec: spec, Name: spec.Name, Hostname: spec.Hostname, Timeout: 10}
	if err := p.checkWords(); err != nil {
		return p, "", func() {}, err
	}
	if err := e.host.CheckJail(ctx, spec.Params, spec.Datasets); err != nil {
		return p, "", func() {}, err
	}
	if err := e.host.CheckLimits(hostLimits(spec.Limits)); err != nil {
		return p, "", func() {}, err
	}
	img, release, err := e.planRoot(ctx, &p)
	if err != nil {
		return p, "", release, err
	}
	id = e.host.NewID(p.Chain, p.Spec.AutoRemove)
	p.Name, p.Hostname = cmp.Or(p.Name, "xc-"+id), cmp.Or(p.Hostname, id)
	err = e.planRest(ctx, id, &p, img)
	return p, id, release, err
}

// planRest plans what depends on the image or the id.
func (e *Engine) planRest(ctx context.Context, id string, p *plan, img api.Image) error {
	if err := p.command(img); err != nil {
		return err
	}
	if err := e.extension(p, img); err != nil {
		return err
	}
	if err := p.checkDeinit(); err != nil {
		return err
	}
	if err := e.planNetworks(id, p); err != nil {
		return err
	}
	if err := e.planPorts(p, img); err != nil {
		return err
	}
	if _, err := signalNumber(p.Signal); err != nil {
		return err
	}
	p.planVolumes(img.Volumes)
	if err := e.checkMounts(ctx, p.Spec.Mounts); err != nil {
		return err
	}
	return e.awaitDatasets(ctx, p)
}

func checkName(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	return fmt.Errorf("name %q: %w: letters, digits, '_', '.' and '-' only, 63 at the most, a letter or digit first", name, fs.ErrInvalid)
}

// checkWords checks and completes what does not depend on the image.
func (p *plan) checkWords() error {
	spec := p.Spec
	p.Spec.Mounts = slices.Clone(spec.Mounts)
	if p.Name != "" {
		if err := checkName(p.Name); err != nil {
			return err
		}
	}
	if p.Hostname != "" && !hostRule.MatchString(p.Hostname) {
		return fmt.Errorf("hostname %q: %w: letters, digits, '.', '_' and '-' only, 63 at the most, a letter or digit at both ends", p.Hostname, fs.ErrInvalid)
	}
	if spec.StopTimeout != nil {
		p.Timeout = *spec.StopTimeout
	}
	if err := checkTimeout(p.Timeout); err != nil {
		return err
	}
	if err := p.planCommands(); err != nil {
		return err
	}
	return errors.Join(checkNames(spec), checkStrings(spec))
}

// maxWords bounds what a spec may say, in bytes: less than a call may carry.
const maxWords = 2 << 20

// checkStrings refuses what no system call could take, and what the record, which
// is JSON, could not keep.
func checkStrings(spec api.ContainerSpec) error {
	if err := ipc.CheckText(spec); err != nil {
		return err
	}
	words := slices.Concat(spec.Command, spec.Env, spec.Params, spec.Datasets, []string{spec.WorkDir, spec.User, spec.Rootfs},
		commandWords(spec.InitCommands, spec.DeinitCommands))
	if spec.Entrypoint != nil {
		words = append(words, *spec.Entrypoint...)
	}
	for _, m := range spec.Mounts {
		words = append(words, m.Source, m.Destination, m.Subpath)
	}
	size := 0
	for _, w := range words {
		size += len(w)
		if strings.ContainsRune(w, 0) {
			return fmt.Errorf("%q: %w: it has a NUL in it", w, fs.ErrInvalid)
		}
	}
	if size > maxWords {
		return fmt.Errorf("commands and environment of %d bytes: %w: %d at the most", size, fs.ErrInvalid, maxWords)
	}
	return nil
}

// maxTimeout is a year: longer ones would overflow on the way.
const maxTimeout = 365 * 24 * 60 * 60

func checkTimeout(seconds int) error {
	if seconds < 0 || seconds > maxTimeout {
		return fmt.Errorf("stop timeout of %d seconds: %w: 0 to %d", seconds, fs.ErrInvalid, maxTimeout)
	}
	return nil
}

// planRoot fills in what comes from the image, on which the caller then has a
// lease to release, or from the given root.
func (e *Engine) planRoot(ctx context.Context, p *plan) (api.Image, func(), error) {
	none := func() {}
	switch spec := p.Spec; {
	case (spec.Image == "") == (spec.Rootfs == ""):
		return api.Image{}, none, fmt.Errorf("%w: give an image or a root directory", fs.ErrInvalid)
	case spec.Rootfs != "":
		p.Linux = e.host.NativeOS() == "linux"
		return api.Image{}, none, checkRootfs(spec.Rootfs)
	}
	found, lease, err := e.acquire(ctx, p.Spec.Image, p.Spec.Platform)
	if err != nil {
		return api.Image{}, none, err
	}
	img := describeImage(found)
	p.Image, p.ImageID, p.Manifest, p.Chain = found.Name.String(), img.ID, img.Digest, img.Chain
	p.Linux = found.Manifest.Platform.OS == "linux"
	return img, lease.Release, nil
}

// command joins what the image says with what the user says, as Docker does:
// another entry point drops the image's command.
func (p *plan) command(img api.Image) error {
	entry, cmd := img.Entrypoint, img.Cmd
	if p.Spec.Entrypoint != nil {
		entry, cmd = *p.Spec.Entrypoint, nil
	}
	if len(p.Spec.Command) > 0 {
		cmd = p.Spec.Command
	}
	p.Args = slices.Concat(entry, cmd)
	if len(p.Args) == 0 || p.Args[0] == "" {
		return fmt.Errorf("%w: no command is given, and the image has neither entry point nor command", fs.ErrInvalid)
	}
	p.WorkDir = cmp.Or(p.Spec.WorkDir, img.WorkDir)
	if p.WorkDir != "" && !path.IsAbs(p.WorkDir) {
		return fmt.Errorf("working directory %q: %w: it must be absolute", p.WorkDir, fs.ErrInvalid)
	}
	p.User = cmp.Or(p.Spec.User, img.User)
	p.Signal = cmp.Or(p.Spec.StopSignal, img.StopSignal, "TERM")
	p.Env = environment(img.Env, p.Spec.Env, p.Hostname, p.Spec.Terminal)
	p.Labels = map[string]string{}
	for k, v := range img.Labels {
		p.Labels[k] = v
	}
	for k, v := range p.Spec.Labels {
		p.Labels[k] = v
	}
	return nil
}

// environment is the image's with the user's laid over it, below them what
// every process may count on.
func environment(image, user []string, hostname string, terminal bool) []string {
	base := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + hostname}
	if terminal {
		base = append(base, "TERM=xterm")
	}
	return overlay(base, image, user)
}

// overlay lays lists of variables over each other: what comes later holds.
func overlay(lists ...[]string) []string {
	var env []string
	at := map[string]int{}
	for _, kv := range slices.Concat(lists...) {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			env[i] = kv
			continue
		}
		at[key] = len(env)
		env = append(env, kv)
	}
	return env
}

func checkRootfs(dir string) error {
	if !path.IsAbs(dir) {
		return fmt.Errorf("root directory %q: %w: it must be an absolute path", dir, fs.ErrInvalid)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("root directory: %w", err)
	}
	if real == "/" {
		return fmt.Errorf("root directory %q: %w: it is the host's own root", dir, fs.ErrInvalid)
	}
	fi, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("root directory: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("root directory %s: %w: not a directory", dir, fs.ErrInvalid)
	}
	return nil
}
