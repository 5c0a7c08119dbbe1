package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// step is how far a download advances, in bytes, from one event to the next.
const step = 512 << 10

// layers downloads and unpacks, at the same time.
func (q *pull) layers(ctx context.Context) error {
	present, err := q.present(ctx)
	if err != nil {
		return err
	}
	here := make([]chan struct{}, len(q.img.Layers)) // closed when the blob is here
	for i := range here {
		here[i] = make(chan struct{})
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return q.downloads(ctx, here, present) })
	work.Go(func() error {
		for i := present; i < len(here); i++ {
			select {
			case <-here[i]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := q.unpack(ctx, q.img.Layers[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return work.Wait()
}

// present is how many layers, from the bottom, are unpacked already: a chain is
// never there without its parent.
func (q *pull) present(ctx context.Context) (int, error) {
	for i := len(q.img.Layers); i > 0; i-- {
		there, err := q.p.Images.Roots.Has(ctx, q.img.Layers[i-1].Chain)
		if err != nil || there {
			return i, err
		}
	}
	return 0, nil
}

// downloads fetches the layers in their order, which is that of unpacking.
func (q *pull) downloads(ctx context.Context, here []chan struct{}, present int) error {
	for i, l := range q.img.Layers {
		if _, err := q.p.Images.Blobs.Stat(l.Blob.Digest); err != nil {
			q.emit(Event{Layer: l.Blob.Digest, Phase: Waiting, Total: q.img.Layers[i].Blob.Size})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(or(q.p.Parallel, 4))
	for i, l := range q.img.Layers {
		group.Go(func() error {
			if err := q.download(ctx, l, i < present); err != nil {
				return err
			}
			close(here[i])
			return nil
		})
	}
	return group.Wait()
}

func (q *pull) download(ctx context.Context, l store.Layer, unpacked bool) error {
	fetched := false
	event := Event{Layer: l.Blob.Digest, Total: l.Blob.Size}
	err := q.p.fetch(ctx, q.ref, l.Blob, func(n int64) {
		fetched = true
		event := event
		event.Phase, event.Current = Downloading, n
		q.emit(event)
	})
	if err != nil {
		return fmt.Errorf("layer: %w", err)
	}
	event.Current = l.Blob.Size
	switch {
	case unpacked && fetched:
		event.Phase = Done
	case unpacked:
		event.Phase = Exists
	default:
		event.Phase = Downloaded
	}
	q.emit(event)
	return nil
}

func (q *pull) unpack(ctx context.Context, l store.Layer) error {
	event := Event{Layer: l.Blob.Digest, Phase: Unpacking, Current: l.Blob.Size, Total: l.Blob.Size}
	created, err := q.p.Images.Unroll(ctx, l, func() { q.emit(event) })
	if created {
		q.mu.Lock()
		q.made = append(q.made, l.Chain)
		q.mu.Unlock()
	}
	if err != nil {
		return err
	}
	event.Phase = Done
	q.emit(event)
	return nil
}

func (q *pull) emit(e Event) {
	if q.o.Progress == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o.Progress(e)
}

// keep stores a manifest that was fetched and verified.
func (p *Puller) keep(ctx context.Context, m Manifest) error {
	return p.blobs.Do(ctx, m.Digest, nil, func(context.Context, func(int64)) error {
		g, err := p.Images.Blobs.Stage(m.Descriptor)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.Reset(); err != nil {
			return errors.Join(err, g.Close())
		}
		if _, err := g.Write(m.Raw); err != nil {
			return errors.Join(err, g.Close())
		}
		return g.Commit()
	})
}

// fetch brings a blob here, unless it is. Those that want the same blob share
// one download; if that was another pull's, from a repository of its own, and it
// failed, the blob is asked for again where this pull's image is.
func (p *Puller) fetch(ctx context.Context, ref image.Reference, desc ispec.Descriptor, watch func(int64)) error {
	for {
		own := false
		err := p.blobs.Do(ctx, desc.Digest, watch, func(ctx context.Context, emit func(int64)) error {
			own = true
			return p.download(ctx, ref, desc, emit)
		})
		if err == nil {
			return p.check(desc)
		}
		if context.Cause(ctx) != nil || own {
			return fmt.Errorf("fetch blob %s: %w", desc.Digest, err)
		}
	}
}

// check compares the size of a blob, which may have come by another descriptor.
func (p *Puller) check(desc ispec.Descriptor) error {
	size, err := p.Images.Blobs.Stat(desc.Digest)
	if err == nil && size != desc.Size {
		err = &image.MismatchError{What: "size", Of: desc.Digest.String(), Want: fmt.Sprint(desc.Size), Got: fmt.Sprint(size)}
	}
	return err
}

// download stages the blob and commits it. If it was put together of several
// pieces and is false, one of them may have been spoiled on this disk: then it
// is fetched once more as a whole.
func (p *Puller) download(ctx context.Context, ref image.Reference, desc ispec.Descriptor, emit func(int64)) error {
	for {
		g, err := p.Images.Blobs.Stage(desc)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
		resumed := g.Offset() > 0
		emit(g.Offset())
		next := g.Offset() + step
		err = p.Client.Download(ctx, ref, desc, g, func(n int64) {
			if n >= next || n == desc.Size {
				next = n + step
				emit(n)
			}
		})
		if err != nil {
			return errors.Join(err, g.Close())
		}
		err = g.Commit()
		var mismatch *image.MismatchError
		if resumed && errors.As(err, &mismatch) {
			continue // Commit has removed it, so that it starts from nothing
		}
		return err
	}
}
