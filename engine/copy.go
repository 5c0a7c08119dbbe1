package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
	"github.com/joyboyid/xc/ocitar/confine"
)

// StatContainer implements api.Containers.
func (e *Engine) StatContainer(ctx context.Context, name, file string, follow bool) (api.File, error) {
	var out api.File
	err := e.reach(ctx, name, func(_ context.Context, r *reached) (err error) {
		out, err = r.locate(file, follow)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("container %s: %w", name, err)
	}
	return out, nil
}

// CopyFromContainer implements api.Containers.
func (e *Engine) CopyFromContainer(ctx context.Context, name string, opt api.CopyFrom) ([]string, error) {
	var notes []string
	err := e.reach(ctx, name, func(ctx context.Context, r *reached) error {
		if opt.Archive == nil {
			return fmt.Errorf("%w: no archive", fs.ErrInvalid)
		}
		if strings.Contains(opt.As, "/") || opt.As == ".." {
			return fmt.Errorf("name %q: %w: one component", opt.As, fs.ErrInvalid)
		}
		f, err := r.locate(opt.Path, opt.Follow)
		if err != nil {
			return err
		}
		if opt.As == "." && f.Type != "dir" {
			return fmt.Errorf("%s: %w", f.Path, unix.ENOTDIR)
		}
		p := ocitar.Packer{Plain: true, Name: naming(f.Path, opt.As)}
		return feed(ctx, opt.Archive, func(w io.Writer) error {
			sum, err := p.PackFrom(ctx, w, r.root, r.tree(f.Path))
			notes = notesOf(sum)
			return err
		})
	})
	if err != nil {
		return notes, fmt.Errorf("copy from container %s: %w", name, err)
	}
	return notes, nil
}

// CopyToContainer implements api.Containers.
func (e *Engine) CopyToContainer(ctx context.Context, name string, opt api.CopyTo) ([]string, error) {
	var notes []string
	err := e.reach(ctx, name, func(ctx context.Context, r *reached) error {
		if opt.Archive == nil {
			return fmt.Errorf("%w: no archive", fs.ErrInvalid)
		}
		f, err := r.locate(opt.Path, true)
		switch {
		case err != nil:
			return err
		case f.Type != "dir":
			return fmt.Errorf("%s: %w", f.Path, unix.ENOTDIR)
		case !r.running && r.c.plan.Spec.ReadOnly:
			return fmt.Errorf("%s: %w", f.Path, unix.EROFS)
		}
		// Names are looked up by the child, in the root, again and again: what a
		// container does to its directories meanwhile is its own affair.
		c := confine.Child{
			Path: e.cfg.Ocitar[0], Argv: e.cfg.Ocitar[1:], Into: strings.TrimPrefix(f.Path, "/"),
			Plain: true, Merge: true, NoOwner: !opt.Owners, Devices: ocitar.SkipDevices,
		}
		sum, err := c.UnpackTo(ctx, r.root.File(), opt.Archive)
		notes = notesOf(sum)
		return err
	})
	if err != nil {
		return notes, fmt.Errorf("copy to container %s: %w", name, err)
	}
	return notes, nil
}

func notesOf(sum ocitar.Summary) []string {
	var notes []string
	for _, n := range sum.Notes {
		notes = append(notes, n.Entry+": "+n.Text)
	}
	if sum.NotesDropped > 0 {
		notes = append(notes, fmt.Sprintf("and %d more", sum.NotesDropped))
	}
	return notes
}

// naming gives what is at and below top its name in an archive.
func naming(top, as string) func(string) string {
	if as == "" {
		if as = path.Base(top); as == "/" {
			as = "."
		}
	}
	top = strings.TrimPrefix(top, "/")
	return func(name string) string {
		if top == "" && name != "." {
			return path.Join(as, name)
		}
		return path.Join(as, strings.TrimPrefix(name, top))
	}
}

// reached is the root of a container that can be looked into.
type reached struct {
	c       *container
	root    *inroot.Root
	running bool
}

// reach calls use with the root of a container. One that does not run is not
// started, nor removed, meanwhile; one that runs may end.
func (e *Engine) reach(ctx context.Context, name string, use func(context.Context, *reached) error) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	c, release, err := e.holdNamed(ctx, name)
	if err != nil {
		return err
	}
	switch st, _ := c.get(); st.Phase {
	case phaseCreating, phaseRemoving, phaseRemoved:
		release()
		return fs.ErrNotExist
	case api.StateRunning:
		dir, err := e.runningRoot(ctx, c)
		release()
		if err != nil {
			return err
		}
		return useRoot(ctx, c, dir, true, use)
	}
	defer release()
	return e.stoppedRoot(ctx, c, use)
}

func (e *Engine) runningRoot(ctx context.Context, c *container) (*os.File, error) {
	loop := c.running()
	st, err := loop.Control.State(ctx)
	if err != nil {
		return nil, askError(loop, err)
	}
	return e.host.OpenRoot(e.hostSpec(c), st.Loop, st.PIDs)
}

// stoppedRoot mounts the root for as long as it is used.
func (e *Engine) stoppedRoot(ctx context.Context, c *container, use func(context.Context, *reached) error) (err error) {
	run := e.site(c.id).Run
	done := context.WithoutCancel(ctx)
	if err := run.Unwind(done); err != nil { // what the last run could not give back
		return err
	}
	spec := e.hostSpec(c)
	if err := run.Acquire(done, e.host.RootSteps(spec)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Unwind(done)) }()
	dir, err := e.host.OpenRoot(spec, 0, nil)
	if err != nil {
		return err
	}
	return useRoot(ctx, c, dir, false, use)
}

func useRoot(ctx context.Context, c *container, dir *os.File, running bool, use func(context.Context, *reached) error) error {
	root := inroot.New(dir)
	defer root.Close()
	return use(ctx, &reached{c, root, running})
}

// locate finds a file. What is mounted into a container that does not run cannot be
// reached, and what is below it would be hidden.
func (r *reached) locate(name string, follow bool) (api.File, error) {
	if name == "" {
		return api.File{}, fmt.Errorf("%w: no path", fs.ErrInvalid)
	}
	name = "/" + strings.TrimLeft(name, "/")
	f, err := r.find(name, follow)
	if errors.Is(err, fs.ErrNotExist) {
		err = cmp.Or(r.missing(name), err)
	}
	return f, err
}

// find is locate, but for why something is not there.
func (r *reached) find(name string, follow bool) (api.File, error) {
	i := strings.LastIndexByte(name, '/')
	base := name[i+1:]
	asDir := base == "" || base == "." || base == ".."
	var at string
	if asDir || follow {
		p, err := r.root.Look(name)
		if err != nil {
			return api.File{}, err
		}
		at = p
	} else {
		dir, p, err := r.root.OpenDir(name[:i+1], nil)
		if err != nil {
			return api.File{}, &fs.PathError{Op: "open", Path: name, Err: errors.Unwrap(err)}
		}
		_ = dir.Close() // only its path was wanted
		at = path.Join(p, base)
	}
	st, err := r.root.Lstat(at)
	if err != nil {
		return api.File{}, &fs.PathError{Op: "stat", Path: name, Err: errors.Unwrap(err)}
	}
	f := api.File{
		Path: at, Type: fileTypes[uint32(st.Mode)&unix.S_IFMT], Mode: uint32(st.Mode) & 0o7777,
		UID: int(st.Uid), GID: int(st.Gid), Size: st.Size, ModTime: time.Unix(st.Mtim.Unix()).UTC(),
	}
	if asDir && f.Type != "dir" {
		return f, &fs.PathError{Op: "stat", Path: name, Err: syscall.ENOTDIR}
	}
	return f, r.unhidden(at)
}

var fileTypes = map[uint32]string{
	unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "symlink", unix.S_IFCHR: "char",
	unix.S_IFBLK: "block", unix.S_IFIFO: "fifo", unix.S_IFSOCK: "socket",
}

// missing tells that what is not there would be in a mount, or nil: by the links on the
// way to where it is missing, or, as the way to the mount may be missing, by its name.
func (r *reached) missing(name string) error {
	var hidden error
	dir, _, err := r.root.OpenDir(name, func(_ int, _, at string) (string, error) {
		hidden = r.unhidden(at)
		return "", fs.ErrNotExist
	})
	if err == nil {
		_ = dir.Close() // it is there by now
	}
	return cmp.Or(hidden, r.unhidden(path.Clean(name)))
}

func (r *reached) unhidden(at string) error {
	if r.running {
		return nil
	}
	for _, m := range r.c.plan.Spec.Mounts {
		point, err := r.root.Look(m.Destination)
		if err != nil {
			point = path.Clean(m.Destination) // made at the next start
		}
		if at == point || strings.HasPrefix(at, point+"/") {
			return fmt.Errorf("%s: %w: it is in the mount of %s, which is there only while the container runs", at, fs.ErrInvalid, cmp.Or(m.Source, m.Type))
		}
	}
	return nil
}

// tree is what is at and below a path. The kernel's own file systems are left out of
// what they are mounted in.
func (r *reached) tree(at string) iter.Seq2[ocitar.Change, error] {
	return ocitar.TreeAt(r.root, at, func(dir string) bool {
		return at != "/" || dir != "dev" && dir != "proc" && dir != "sys"
	})
}

// feed writes to a file that may be a pipe that nobody reads from. What write gets
// fails when ctx ends.
func feed(ctx context.Context, to *os.File, write func(io.Writer) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, r)
		_ = r.CloseWithError(err) // always nil
		written <- err
	}()
	stop := context.AfterFunc(ctx, func() { _ = w.CloseWithError(context.Cause(ctx)) }) // always nil
	defer stop()
	err := write(w)
	_ = w.CloseWithError(err) // always nil
	select {
	case copyErr := <-written:
		if err == nil && copyErr != nil {
			err = fmt.Errorf("write archive: %w", copyErr)
		}
	case <-ctx.Done():
		err = errors.Join(err, context.Cause(ctx))
	}
	return err
}
