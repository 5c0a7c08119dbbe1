package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/ocitar"
)

// changes calls use with what has changed in a container's root. The container
// is not started, stopped or removed meanwhile.
func (e *Engine) changes(ctx context.Context, name string, use func(*container, host.Changes) error) error {
	c, release, err := e.holdNamed(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	switch st, _ := c.get(); st.Phase {
	case phaseCreating, phaseRemoving, phaseRemoved:
		return fmt.Errorf("container %s: %w", c.plan.Name, fs.ErrNotExist)
	}
	return e.host.Changes(ctx, e.hostSpec(c), c.running() != nil, func(ch host.Changes) error { return use(c, ch) })
}

// DiffContainer implements api.Containers.
func (e *Engine) DiffContainer(ctx context.Context, name string, emit func(api.Change) error) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	err := e.changes(ctx, name, func(_ *container, ch host.Changes) error {
		for c, err := range ch.List {
			if err := errors.Join(err, context.Cause(ctx)); err != nil {
				return err
			}
			out := api.Change{Kind: api.ChangeChanged, Path: "/" + strings.TrimPrefix(c.Path, ".")}
			switch c.Kind {
			case ocitar.Gone:
				out.Kind = api.ChangeRemoved
			case ocitar.Put:
				was, err := ch.Was(c.Path)
				if err != nil {
					return err
				}
				if !was {
					out.Kind = api.ChangeAdded
				}
			}
			if err := emit(out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("diff container %s: %w", name, err)
	}
	return nil
}

// CommitContainer implements api.Containers.
func (e *Engine) CommitContainer(ctx context.Context, name string, spec api.CommitSpec) (api.Image, error) {
	if err := e.begin(); err != nil {
		return api.Image{}, err
	}
	defer e.end()
	ref, err := image.ParseReference(spec.Name)
	if err = errors.Join(err, ipc.CheckText(spec)); err != nil {
		return api.Image{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	var out api.Image
	err = e.changes(ctx, name, func(c *container, ch host.Changes) error {
		base, lease, err := e.baseOf(ctx, c)
		if err != nil {
			return err
		}
		defer lease.Release()
		img, err := e.commit(ctx, c, base, ch, ref, spec)
		if err == nil {
			out = describeImage(img)
			e.tell(c.event(api.EventCommit, "image", ref.String()), imageEvent(api.EventCommit, out.Digest, ref.String()))
		}
		return err
	})
	if err != nil {
		return api.Image{}, fmt.Errorf("commit container %s: %w", name, err)
	}
	return out, nil
}

// baseOf is the image that a container was made of, with a lease on it: as a
// rule it has a name, but another image may have taken that.
func (e *Engine) baseOf(ctx context.Context, c *container) (store.Image, *store.Lease, error) {
	img, lease, err := e.images.images.AcquireDigest(digest.Digest(c.plan.Manifest))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the image that it was made of, %s, is not on this host any more: pull it again: %w", c.plan.Image, err)
	}
	return img, lease, err
}

func (e *Engine) commit(ctx context.Context, c *container, base store.Image, ch host.Changes, ref image.Reference, spec api.CommitSpec) (store.Image, error) {
	config, err := changed(base.Config.Config, spec.ConfigChange)
	if err != nil {
		return store.Image{}, err
	}
	return e.images.images.Commit(ctx, base, store.CommitOptions{
		Name: ref, Config: config, Author: spec.Author, Comment: spec.Message,
		CreatedBy: strings.Join(c.plan.Args, " "),
		MediaType: ocitar.Gzip.MediaType(),
		Layer: func(ctx context.Context, w io.Writer) (digest.Digest, error) {
			p := ocitar.Packer{Compression: ocitar.Gzip}
			sum, err := p.Pack(ctx, w, ch.Root, ch.List)
			return digest.Digest(sum.DiffID), err
		},
	})
}
