package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/volume"
)

// A volume's record has two parts as a container's has: what it is to be, and
// what became of it. A record that is not ready is finished off by recovery: what
// is in the making was given to nobody yet.

// vol is a volume in memory. The database follows it.
type vol struct {
	name    string
	created time.Time
	plan    volPlan
	state   volState   // guarded by the engine's mu
	leaving bool       // somebody is removing it; guarded by the engine's mu
	filling sync.Mutex // held while it is filled from an image
}

type volPlan struct {
	ID        string            `json:"id"` // new with each volume: see package volume
	Driver    string            `json:"driver"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	From      string            `json:"from,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
}

type volState struct {
	Phase string `json:"phase"`
	Owner string `json:"owner,omitempty"` // id of the container that it is removed with
}

// Phases of a volume, beside phaseCreating and phaseRemoving.
const phaseReady = "ready"

// driver is how a volume is kept.
func (e *Engine) driver(name string) (volume.Driver, error) {
	drivers, _ := e.host.VolumeDrivers()
	if d, ok := drivers[name]; ok {
		return d, nil
	}
	why := fmt.Sprintf("the drivers here are %s", strings.Join(slices.Sorted(maps.Keys(drivers)), ", "))
	if name == api.DriverZFS {
		why += "; default_volume_dataset in xc.config is what zfs needs, on FreeBSD"
	}
	return nil, fmt.Errorf("volume driver %q: %w: %s", name, errors.ErrUnsupported, why)
}

// newVolume checks a spec and completes it.
func (e *Engine) newVolume(spec api.VolumeSpec) (*vol, error) {
	v := &vol{name: spec.Name, created: time.Now().UTC(), plan: volPlan{
		ID: volumeID(), Driver: spec.Driver, Labels: spec.Labels, Options: spec.Options, From: spec.From,
	}}
	if v.name == "" {
		v.name, v.plan.Anonymous = v.plan.ID, true
	}
	if v.plan.Driver == "" {
		_, v.plan.Driver = e.host.VolumeDrivers()
	}
	if err := errors.Join(volume.CheckName(v.name), ipc.CheckText(spec)); err != nil {
		return nil, err
	}
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return nil, err
	}
	return v, d.Check(v.options())
}

func (v *vol) options() volume.Options {
	return volume.Options{Properties: v.plan.Options, From: v.plan.From}
}

// volumeID is 12 characters of base32, a letter first.
func volumeID() string {
	text := strings.ToLower(rand.Text())
	return string('a'+text[0]%26) + text[1:12]
}

// CreateVolume implements api.Volumes.
func (e *Engine) CreateVolume(ctx context.Context, spec api.VolumeSpec) (api.Volume, error) {
	if err := e.begin(); err != nil {
		return api.Volume{}, err
	}
	defer e.end()
	v, err := e.newVolume(spec)
	if err == nil {
		e.making.Lock()
		err = e.makeVolume(context.WithoutCancel(ctx), v)
		e.making.Unlock()
	}
	if err != nil {
		return api.Volume{}, fmt.Errorf("create volume %s: %w", spec.Name, err)
	}
	return e.describeVolume(v), nil
}

// makeVolume makes a volume. Its record becoming ready is the commit.
func (e *Engine) makeVolume(ctx context.Context, v *vol) error {
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return err
	}
	owner := v.state.Owner
	v.state.Phase = phaseCreating
	if err := e.claimVolume(ctx, v); err != nil {
		return err
	}
	e.trace("volume create before")
	err = d.Create(ctx, v.name, v.plan.ID, v.options())
	e.trace("volume create after")
	if err == nil {
		err = e.saveVolume(ctx, v, volState{Phase: phaseReady, Owner: owner})
	}
	if err != nil {
		return errors.Join(err, e.dropVolume(ctx, v, d))
	}
	return nil
}

// claimVolume claims a volume's name by its record.
func (e *Engine) claimVolume(ctx context.Context, v *vol) error {
	spec, err := json.Marshal(v.plan)
	if err != nil {
		return err
	}
	state, err := json.Marshal(v.state)
	if err != nil {
		return err
	}
	if err := e.addVolume(v); err != nil {
		return err
	}
	e.trace("volume record create before")
	defer e.trace("volume record create after")
	if err := e.db.CreateVolume(ctx, store.Volume{Name: v.name, Created: v.created, Spec: spec, State: state}); err != nil {
		e.forgetVolume(v)
		return err
	}
	return nil
}

func (e *Engine) addVolume(v *vol) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if other, taken := e.volumes[v.name]; taken && other.state.Phase == phaseRemoving {
		return fmt.Errorf("it is being removed: %w", fs.ErrExist)
	} else if taken {
		return fs.ErrExist
	}
	e.volumes[v.name] = v
	return nil
}

func (e *Engine) forgetVolume(v *vol) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.volumes, v.name)
}

// saveVolume records a change of state.
func (e *Engine) saveVolume(ctx context.Context, v *vol, st volState) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	e.trace("volume record " + st.Phase + " before")
	defer e.trace("volume record " + st.Phase + " after")
	if err := e.db.UpdateVolume(ctx, v.name, b); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	v.state = st
	return nil
}

// dropVolume removes the data of a volume that is not ready, and its record.
func (e *Engine) dropVolume(ctx context.Context, v *vol, d volume.Driver) error {
	e.trace("volume remove before")
	err := d.Remove(ctx, v.name, v.plan.ID)
	e.trace("volume remove after")
	if err != nil {
		return err
	}
	e.trace("volume record remove before")
	defer e.trace("volume record remove after")
	if err := e.db.RemoveVolume(ctx, v.name); err != nil {
		return err
	}
	e.forgetVolume(v)
	return nil
}

// findVolume returns a volume that is ready, or in another of the given phases.
func (e *Engine) findVolume(name string, or ...string) (*vol, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v, ok := e.volumes[name]; ok && (v.state.Phase == phaseReady || slices.Contains(or, v.state.Phase)) {
		return v, nil
	}
	return nil, fmt.Errorf("volume %q: %w", name, fs.ErrNotExist)
}

// usersLocked are the containers that have a volume.
func (e *Engine) usersLocked(name string) []string {
	users := []string{}
	for _, c := range e.containers {
		if c.plan.uses(name) {
			users = append(users, c.name())
		}
	}
	slices.Sort(users)
	return users
}

// awaitGone waits for those containers that are removing themselves.
func (e *Engine) awaitGone(ctx context.Context, list []*container) error {
	for _, c := range list {
		if _, err := e.gone(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// awaitUsers waits for containers that have a volume and are removing themselves.
func (e *Engine) awaitUsers(ctx context.Context, volume string) error {
	e.mu.Lock()
	var users []*container
	for _, c := range e.containers {
		if c.plan.uses(volume) {
			users = append(users, c)
		}
	}
	e.mu.Unlock()
	return e.awaitGone(ctx, users)
}

// RemoveVolume implements api.Volumes.
func (e *Engine) RemoveVolume(ctx context.Context, name string, opt api.RemoveVolumeOptions) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	err := e.awaitUsers(ctx, name)
	if err == nil {
		err = e.removeNamed(context.WithoutCancel(ctx), name)
	}
	if err == nil || opt.Force && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove volume %s: %w", name, err)
}

// removeNamed removes a volume, also one whose removal has failed, or a snapshot.
func (e *Engine) removeNamed(ctx context.Context, name string) error {
	name, snapshot, isSnapshot := strings.Cut(name, "@")
	v, err := e.findVolume(name, phaseRemoving)
	if err != nil {
		return err
	}
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return err
	}
	if !isSnapshot {
		return e.removeVolume(ctx, v, d)
	}
	err = d.RemoveSnapshot(ctx, name, snapshot)
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w: %w%s", api.ErrInUse, err, e.clonesOf(name+"@"+snapshot))
	}
	return err
}

// clonesOf names the volumes that are clones of a snapshot.
func (e *Engine) clonesOf(snapshot string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var clones []string
	for _, v := range e.volumes {
		if v.plan.From == snapshot {
			clones = append(clones, v.name)
		}
	}
	if len(clones) == 0 {
		return ""
	}
	slices.Sort(clones)
	return ": clones of it are the volumes " + strings.Join(clones, ", ")
}

// removeVolume removes a volume that nobody has, with all its data.
func (e *Engine) removeVolume(ctx context.Context, v *vol, d volume.Driver) error {
	snapshots, err := d.Snapshots(ctx, v.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(snapshots) > 0 {
		var names []string
		for _, s := range snapshots {
			names = append(names, v.name+"@"+s.Name)
		}
		return fmt.Errorf("%w: it has snapshots, which must be removed first: %s", api.ErrInUse, strings.Join(names, " "))
	}
	was, err := e.retire(v)
	if err != nil {
		return err
	}
	defer e.retired(v)
	err = e.saveVolume(ctx, v, volState{Phase: phaseRemoving})
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // its data make the room for the record
		e.mu.Lock()
		v.state = was
		e.mu.Unlock()
		return err
	}
	err = e.dropVolume(ctx, v, d)
	if errors.Is(err, syscall.EBUSY) { // nothing of it is lost
		return errors.Join(fmt.Errorf("%w: %w", api.ErrInUse, err), e.saveVolume(ctx, v, was))
	}
	return err
}

// retire takes a volume from those that can be used, if nobody does. It is for the
// caller to remove until retired.
func (e *Engine) retire(v *vol) (was volState, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v.leaving || v.state.Phase == phaseCreating {
		return was, fs.ErrNotExist
	}
	if users := e.usersLocked(v.name); len(users) > 0 {
		return was, fmt.Errorf("%w: by the container %s", api.ErrInUse, strings.Join(users, ", "))
	}
	was = v.state
	v.state.Phase, v.leaving = phaseRemoving, true
	return was, nil
}

func (e *Engine) retired(v *vol) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v.leaving = false
}

// SnapshotVolume implements api.Volumes.
func (e *Engine) SnapshotVolume(ctx context.Context, name, snapshot string) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	err := volume.CheckName(snapshot)
	if err == nil {
		err = e.snapshot(ctx, name, snapshot)
	}
	if err != nil {
		return fmt.Errorf("snapshot volume %s@%s: %w", name, snapshot, err)
	}
	return nil
}

func (e *Engine) snapshot(ctx context.Context, name, snapshot string) error {
	v, err := e.findVolume(name)
	if err != nil {
		return err
	}
	d, err := e.driver(v.plan.Driver)
	if err != nil {
		return err
	}
	return d.Snapshot(ctx, name, snapshot)
}
