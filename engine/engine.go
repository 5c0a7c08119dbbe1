// Package engine is the whole container engine in process: images, containers
// and what cleans up after them. xcd serves it on a socket; a program that
// embeds it needs no daemon.
//
//	func main() {
//		engine.Main() // this executable is also the run loop and the layer codec
//		e, err := engine.Open(ctx, engine.Config{StateDir: dir, RunDir: dir + "/run"})
//		...
//		defer e.Close() // containers go on; the next Open finds them
//		img, err := e.PullImage(ctx, "alpine", api.PullOptions{}, nil)
//		c, err := e.CreateContainer(ctx, api.ContainerSpec{Image: "alpine", Command: []string{"true"}})
//		err = e.StartContainer(ctx, c.ID, api.StartOptions{})
//		exit, err := e.WaitContainer(ctx, c.ID, api.WaitOptions{})
//		err = e.RemoveContainer(ctx, c.ID, api.RemoveOptions{})
//	}
//
// One engine at a time has a state directory; only it opens the database.
// Every name that the kernel sees carries the engine's tag, so that two
// engines on one host never touch each other.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/runloop"
)

var errClosed = fmt.Errorf("the engine is closed: %w", fs.ErrClosed)

// Engine is an engine in this process. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	lock     *store.Lock
	db       *store.Store
	journal  site.Journal
	table    site.Table
	host     *host.Host
	images   images
	networks networks
	ports    portTable
	channels channels
	names    *names

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	watchers sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	busy       sync.WaitGroup // operations under way
	containers map[string]*container
	volumes    map[string]*vol
	making     sync.Mutex // held while a named volume is looked for and made: several may need it at once
}

var _ api.Engine = (*Engine)(nil)

// Open opens the engine of a state directory, which it makes when there is
// none, and recovers: containers that run are found again, and what a crash
// left is given back. The error is a *store.ErrLocked when another engine has
// the directory; it names the holder.
func Open(ctx context.Context, c Config) (*Engine, error) {
	cfg, err := c.filled()
	if err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	e := &Engine{cfg: cfg, names: newNames(), containers: map[string]*container{}, volumes: map[string]*vol{},
		channels: channels{list: map[string]*channel{}}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open engine: %w", err), e.Close())
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (err error) {
	for _, dir := range []string{e.cfg.StateDir, e.cfg.RunDir, e.cfg.LogsDir, e.sitesDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if dir == e.cfg.StateDir {
			host.Spread(dir) // before there is anything in it
		}
	}
	// The kernel tells of mounts by their real paths.
	for _, dir := range []*string{&e.cfg.StateDir, &e.cfg.RunDir, &e.cfg.LogsDir} {
		if *dir, err = filepath.EvalSymlinks(*dir); err != nil {
			return fmt.Errorf("resolve directory: %w", err)
		}
		if err := ipc.CheckText(*dir); err != nil { // it is in the journal and in what run loops are told: JSON
			return fmt.Errorf("directory %w", err)
		}
	}
	if e.lock, err = store.NewLock(e.cfg.StateDir); err != nil {
		return err
	}
	if e.db, err = store.Open(filepath.Join(e.cfg.StateDir, "xc.sqlite")); err != nil {
		return err
	}
	e.journal = e.db
	if err := e.db.LimitEvents(ctx, store.EventLimits{Max: e.cfg.EventsMax, Age: e.cfg.EventsAge}); err != nil {
		return err
	}
	e.host, err = host.Open(ctx, host.Config{
		Tag: e.db.Tag(), StateDir: e.cfg.StateDir, RunDir: e.cfg.RunDir, SitesDir: e.sitesDir(),
		ImageDataset: e.cfg.ImageDataset, ContainerDataset: e.cfg.ContainerDataset, VolumeDataset: e.cfg.VolumeDataset,
		DevfsOffset: e.cfg.DevfsOffset, RootFiles: []string{hostsFile, resolvFile}, RunLoop: e.cfg.RunLoop, Report: e.cfg.Report,
	})
	if err != nil {
		return err
	}
	e.table = e.host.Table()
	e.table[kindVolume] = e.undoVolume
	e.table[kindLease] = e.releaseLease
	if err := e.openNetworks(ctx); err != nil {
		return err
	}
	if err := e.images.open(e); err != nil {
		return err
	}
	if err := e.recover(ctx); err != nil {
		return err
	}
	if err := e.openChannels(ctx); err != nil {
		return err
	}
	e.ready()
	return nil
}

// Close gives the engine up. Containers go on running; operations under way
// are finished first.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	errs := []error{e.closeChannels()}
	e.busy.Wait()
	e.watchers.Wait()
	e.mu.Lock()
	for _, c := range e.containers {
		c.closeOpened()
	}
	e.mu.Unlock()
	errs = append(errs, e.images.close())
	if e.host != nil {
		errs = append(errs, e.host.Close())
	}
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}

// Announce writes into the lock where this engine answers, for the ErrLocked
// of whoever comes later.
func (e *Engine) Announce(socket string) error { return e.lock.Announce(socket) }

// begin and end frame an operation that Close has to wait for.
func (e *Engine) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	e.busy.Add(1)
	return nil
}

func (e *Engine) end() { e.busy.Done() }

// find returns the container with this name, id, or beginning of an id.
func (e *Engine) find(ctx context.Context, name string) (*container, error) {
	r, err := e.db.Container(ctx, name)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.containers[r.ID]
	if !ok {
		return nil, fmt.Errorf("container %q: %w", name, fs.ErrNotExist)
	}
	return c, nil
}

// hold takes the container for an operation that changes it, and returns how
// to release it.
func (e *Engine) hold(ctx context.Context, c *container) (release func(), err error) {
	if why := c.absent(); errors.Is(why, errors.ErrUnsupported) {
		return nil, why // it would be a long wait
	}
	return take(ctx, c, c.op)
}

// holdNamed finds a container and holds it.
func (e *Engine) holdNamed(ctx context.Context, name string) (c *container, release func(), err error) {
	if c, err = e.find(ctx, name); err != nil {
		return nil, nil, err
	}
	release, err = e.hold(ctx, c)
	return c, release, err
}

// turn takes the container for a request to start, restart or remove it, which
// may consist of several operations. It comes before hold.
func (e *Engine) turn(ctx context.Context, c *container) (release func(), err error) {
	return take(ctx, c, c.turn)
}

func take(ctx context.Context, c *container, lock chan struct{}) (release func(), err error) {
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("container %s is busy: %w", c.name(), ctx.Err())
	}
}

// running returns a container that runs, and its run loop.
func (e *Engine) running(ctx context.Context, name string) (*container, *host.Loop, error) {
	c, err := e.find(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if loop := c.running(); loop != nil {
		return c, loop, nil
	}
	return nil, nil, c.notRunning()
}

// notRunningError is an [api.ErrNotRunning] that tells of which container.
type notRunningError string

func (e notRunningError) Error() string      { return "container " + string(e) + " is not running" }
func (notRunningError) Is(target error) bool { return target == api.ErrNotRunning }
func (notRunningError) Code() string         { return api.ErrNotRunning.Code() }

func (e *Engine) trace(point string) {
	if e.cfg.Trace != nil {
		e.cfg.Trace(point)
	}
}

func (e *Engine) sitesDir() string          { return filepath.Join(e.cfg.StateDir, "sites") }
func (e *Engine) siteDir(id string) string  { return filepath.Join(e.sitesDir(), id) }
func (e *Engine) exitPath(id string) string { return filepath.Join(e.siteDir(id), runloop.ExitFile) }
func (e *Engine) logPath(id string) string  { return filepath.Join(e.cfg.LogsDir, id+".log") }
