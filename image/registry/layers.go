package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// step is how far a download advances, in bytes, from one event to the next.
const step = 512 << 10

// track is a layer on its way.
type track struct {
	store.Layer
	begun func()        // closes start, once
	start chan struct{} // closed when the blob begins to arrive
	here  chan struct{} // closed when the blob is here, and that was said

	unpacking atomic.Bool // has begun, maybe behind the download
	announce  sync.Once   // of Unpacking
}

func newTrack(l store.Layer) *track {
	t := &track{Layer: l, start: make(chan struct{}), here: make(chan struct{})}
	t.begun = sync.OnceFunc(func() { close(t.start) })
	return t
}

// layers downloads and unpacks, at the same time: also the layer whose turn it
// is to be unpacked while it still arrives.
func (q *pull) layers(ctx context.Context) error {
	present, err := q.present(ctx)
	if err != nil {
		return err
	}
	var tracks []*track
	for _, l := range q.img.Layers {
		tracks = append(tracks, newTrack(l))
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return q.downloads(ctx, tracks, present) })
	work.Go(func() error {
		for _, t := range tracks[present:] {
			if err := q.unpack(ctx, t); err != nil {
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
	if q.p.Images.Roots == nil {
		return len(q.img.Layers), nil // nothing is to be unpacked
	}
	for i := len(q.img.Layers); i > 0; i-- {
		there, err := q.p.Images.Roots.Has(ctx, q.img.Layers[i-1].Chain)
		if err != nil || there {
			return i, err
		}
	}
	return 0, nil
}

// downloads fetches the layers in their order, which is that of unpacking.
func (q *pull) downloads(ctx context.Context, tracks []*track, present int) error {
	for _, t := range tracks {
		if _, err := q.p.Images.Blobs.Stat(t.Blob.Digest); err != nil {
			q.emit(Event{Layer: t.Blob.Digest, Phase: Waiting, Total: t.Blob.Size})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(or(q.p.Parallel, 4))
	for i, t := range tracks {
		group.Go(func() error { return q.download(ctx, t, i < present) })
	}
	return group.Wait()
}

func (q *pull) download(ctx context.Context, t *track, unpacked bool) error {
	fetched := false
	err := q.p.fetch(ctx, q.ref, t.Blob, func(n int64) {
		fetched = true
		q.emit(Event{Layer: t.Blob.Digest, Phase: Downloading, Current: n, Total: t.Blob.Size})
		t.begun()
	})
	if err != nil {
		return fmt.Errorf("layer: %w", err)
	}
	phase := Downloaded
	switch {
	case unpacked && fetched:
		phase = Done
	case unpacked:
		phase = Exists
	}
	q.emit(Event{Layer: t.Blob.Digest, Phase: phase, Current: t.Blob.Size, Total: t.Blob.Size})
	close(t.here)
	if t.unpacking.Load() {
		q.announce(t)
	}
	return nil
}

// announce says that a layer is being unpacked; after Downloaded, before Done.
func (q *pull) announce(t *track) {
	t.announce.Do(func() {
		q.emit(Event{Layer: t.Blob.Digest, Phase: Unpacking, Current: t.Blob.Size, Total: t.Blob.Size})
	})
}

func (q *pull) unpack(ctx context.Context, t *track) error {
	select {
	case <-t.start:
	case <-t.here:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := q.unroll(ctx, t)
	if err != nil && !errors.Is(err, store.ErrArriving) {
		return err
	}
	select { // the download tells whether there is anything to unpack
	case <-t.here:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err != nil {
		if err := q.unroll(ctx, t); err != nil {
			return err
		}
	}
	if t.unpacking.Load() { // else another pull has done it
		q.announce(t)
	}
	q.emit(Event{Layer: t.Blob.Digest, Phase: Done, Current: t.Blob.Size, Total: t.Blob.Size})
	return nil
}

func (q *pull) unroll(ctx context.Context, t *track) error {
	created, err := q.p.Images.Unroll(ctx, t.Layer, func() {
		t.unpacking.Store(true)
		select {
		case <-t.here:
			q.announce(t)
		default: // when it is here
		}
	})
	if created {
		q.mu.Lock()
		q.made = append(q.made, t.Chain)
		q.mu.Unlock()
	}
	return err
}

func (q *pull) emit(e Event) {
	if q.o.Progress == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o.Progress(e)
}

// stage begins to write a blob: it is Stage of the store, or what else stages.
type stage func(ispec.Descriptor) (*store.Staging, error)

// keep stores a manifest that was fetched and verified.
func (p *Puller) keep(ctx context.Context, m Manifest) error {
	return p.blobs.Do(ctx, m.Digest, nil, func(context.Context, func(int64)) error {
		return write(m, p.Images.Blobs.Stage)
	})
}

func write(m Manifest, stage stage) error {
	g, err := stage(m.Descriptor)
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
}

// fetch brings a blob here, unless it is. Those that want the same blob share
// one download; if that was another pull's, from a repository of its own, and it
// failed, the blob is asked for again where this pull's image is.
func (p *Puller) fetch(ctx context.Context, ref image.Reference, desc ispec.Descriptor, watch func(int64)) error {
	for {
		own := false
		err := p.blobs.Do(ctx, desc.Digest, watch, func(ctx context.Context, emit func(int64)) error {
			own = true
			return p.download(ctx, ref, desc, p.Images.Blobs.Stage, emit)
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
// pieces and is false, one of them may have been spoiled on this disk, and a
// mirror may have another: then it is fetched once more as a whole, and from the
// registry itself.
func (p *Puller) download(ctx context.Context, ref image.Reference, desc ispec.Descriptor, stage stage, emit func(int64)) error {
	for from := p.Client.sources(ref); ; from = from[len(from)-1:] {
		g, err := stage(desc)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return err
		}
		again := g.Offset() > 0 || len(from) > 1
		emit(g.Offset())
		next := g.Offset() + step
		err = p.Client.download(ctx, from, desc, g, func(n int64) {
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
		if again && errors.As(err, &mismatch) {
			continue // Commit has removed it, so that it starts from nothing
		}
		return err
	}
}
