// Package host is what the engine needs of the machine it runs on: roots,
// jails or namespaces, mounts, the processes of run loops. It is the only
// package that chooses an operating system, and it has adapters only: the
// work is done in the packages it imports.
//
// The engine describes a container as a [Spec]; host answers with the steps
// (see package site) that make it, each with the undo that gives it back:
//
//	h, err := host.Open(ctx, host.Config{Tag: tag, StateDir: dir, ...})
//	s := site.New(id, journal, h.Table())
//	err = s.Held.Acquire(ctx, h.Hold(spec))          // root
//	steps, err := h.Run(spec, loopConfig, &loop)
//	err = s.Run.Acquire(ctx, steps)                  // jail, mounts, run loop
//	pid, err := loop.Control.Start(ctx, main, stdio)
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/site"
	"github.com/joyboyid/xc/site/proxy"
)

// Config says what a host may use.
type Config struct {
	Tag      string // of the engine; in every name the kernel sees
	StateDir string // roots, where there is no ZFS
	RunDir   string // sockets of the run loops
	SitesDir string // one directory a site: exit record

	ImageDataset     string // FreeBSD: ZFS dataset for the roots of images
	ContainerDataset string // FreeBSD: ZFS dataset for the roots of containers
	VolumeDataset    string // FreeBSD: ZFS dataset for volumes
	DevfsOffset      int    // FreeBSD: first devfs(8) ruleset number we may use

	RootFiles []string // what most containers have a file of the engine's mounted on

	RunLoop []string // program, argv[0] and arguments of the run loop

	Report func(error) // is told what nobody is there to be told; nil: nobody is
}

// Spec is what a container is to be on this host.
type Spec struct {
	ID         string
	Chain      string // chain id of the root's layers; exclusive with Dir
	Dir        string // a given root directory
	ReadOnly   bool
	Volatile   bool // what is written into the root need not survive a power cut: it is never started again
	Hostname   string
	Network    string // NetworkOwn, NetworkHost or NetworkAlias
	Linux      bool   // the root holds programs for Linux
	Program    string // what main executes, for what is kept ready for the next one
	Log        string // path of its log
	Mounts     []Mount
	Interfaces []Interface // see network.go
	Publish    []Publish
	Forwards   []proxy.Forward // sockets of published ports, for the site's proxy
	Params     []string        // FreeBSD: parameters of the jail, as jail(8) takes them
	Datasets   []string        // FreeBSD: datasets that the jail administers
	Limits     Limits
}

// Mount is mounted into the root: a file or directory of the host, or what one
// of the last two fields says.
type Mount struct {
	Source      string
	Destination string
	ReadOnly    bool
	NoSUID      bool     // set-user-ID and set-group-ID have no effect
	NoExec      bool     // nothing in it can be executed
	File        *os.File // Source, opened: what is mounted is this very file. nil: a file of the engine's own

	Tmpfs   *Tmpfs // a file system in memory
	Dataset string // FreeBSD: a ZFS file system
}

// Tmpfs is a file system in memory.
type Tmpfs struct {
	Size     int64  // bytes; 0: as much as the host lets it have
	Mode     uint32 // of its root directory
	UID, GID uint32 // of its root directory
}

// OpenInside opens what has a name in the directory source, whoever changes
// links there meanwhile; with the name "", source itself. It returns the path as
// well, which leads there now. dir is source opened before, and is closed, or nil.
func OpenInside(dir *os.File, source, name string) (*os.File, string, error) {
	if name == "" && dir != nil {
		return dir, source, nil
	}
	var err error
	if dir == nil {
		dir, err = OpenSource(source)
	}
	if name == "" || err != nil {
		return dir, source, err
	}
	r := inroot.New(dir)
	defer r.Close()
	f, err := r.OpenFile(name, openPath, 0)
	if err != nil {
		return nil, "", err
	}
	path, err := r.Look(name)
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, filepath.Join(source, path), nil
}

// NativeOS is the operating system of this host, as image-spec names it.
func (h *Host) NativeOS() string { return runtime.GOOS }

// Platform is the platform of this host, os/arch.
func (h *Host) Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Kinds of undos that every host has.
const (
	kindDir     = "dir"     // path: a site's directory
	kindLog     = "log"     // path: a container's log and its older files
	kindRoot    = "root"    // name: a container's root
	kindSocket  = "socket"  // path: a run loop's control socket
	kindRunLoop = "runloop" // path: its socket
)

// thing is the data of the undos: what is to be given back.
type thing struct {
	Path string `json:"path,omitempty"`
	Name string `json:"name,omitempty"`
	Addr string `json:"addr,omitempty"`
}

// step makes a step of a deed and what undoes it.
func step(kind string, t thing, do func(ctx context.Context) error) site.Step {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings: cannot happen
	}
	return site.Step{Undo: site.Undo{Kind: kind, Version: 1, Data: b}, Do: do}
}

// undo decodes the data of an undo for f.
func undo(f func(ctx context.Context, t thing) error) func(ctx context.Context, u site.Undo) error {
	return func(ctx context.Context, u site.Undo) error {
		if u.Version != 1 {
			return fmt.Errorf("undo %s of version %d: made by a later release: %w", u.Kind, u.Version, site.ErrUnknownKind)
		}
		var t thing
		if err := json.Unmarshal(u.Data, &t); err != nil {
			return fmt.Errorf("undo %s: %w", u.Kind, err)
		}
		return f(ctx, t)
	}
}

// siteDir makes the step for a site's directory.
func (h *Host) siteDir(id string) site.Step {
	dir := filepath.Join(h.cfg.SitesDir, id)
	return step(kindDir, thing{Path: dir}, func(context.Context) error {
		return os.Mkdir(dir, 0o700)
	})
}

func (h *Host) removeSiteDir(_ context.Context, t thing) error {
	if filepath.Dir(t.Path) != h.cfg.SitesDir {
		return fmt.Errorf("remove %s: it is not below %s", t.Path, h.cfg.SitesDir)
	}
	return os.RemoveAll(t.Path)
}

// Hold returns the steps for what a stopped container keeps.
func (h *Host) Hold(s Spec) []site.Step {
	steps := []site.Step{h.siteDir(s.ID), step(kindLog, thing{Path: s.Log}, nil)}
	if s.Chain != "" {
		steps = append(steps, step(kindRoot, thing{Name: s.ID}, func(ctx context.Context) error {
			return h.createRoot(ctx, s)
		}))
	}
	return steps
}

// removeLog removes a log file and those that were rotated.
func (h *Host) removeLog(_ context.Context, t thing) error {
	files, err := filepath.Glob(t.Path + "*")
	if err != nil || filepath.Ext(t.Path) != ".log" {
		return fmt.Errorf("remove log %s: not a log of ours: %w", t.Path, errors.Join(err, fs.ErrInvalid))
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// leftDirs finds directories of sites and sockets of run loops.
func (h *Host) leftDirs(add func(kind, name, id string)) error {
	for _, d := range []struct{ kind, dir, suffix string }{{"directory", h.cfg.SitesDir, ""}, {"socket", h.cfg.RunDir, socketSuffix}, {"proxy", h.cfg.RunDir, proxySuffix}} {
		entries, err := os.ReadDir(d.dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), d.suffix)
			if ok && idRule.MatchString(id) {
				add(d.kind, filepath.Join(d.dir, e.Name()), id)
			}
		}
	}
	return nil
}

// idRule is what the engine's ids look like.
var idRule = regexp.MustCompile(`^[a-z][a-z0-9]{11}$`)
