package store

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// AnnotationIndex is the annotation of a reference's descriptor that holds the
// digest of the index which the manifest was chosen from.
const AnnotationIndex = "com.github.joyboyid.xc.index"

// Refs is the ledger of names: from references in full
// (docker.io/library/alpine:latest) to the descriptors of manifests, each one
// of a single platform. The descriptor is kept as it is given, annotations
// included. Errors for missing names match fs.ErrNotExist. Implementations may
// be used by many goroutines at once.
type Refs interface {
	Resolve(ctx context.Context, name string) (ispec.Descriptor, error)
	// Put sets a name, whether or not it was set. It is durable when it returns.
	Put(ctx context.Context, name string, desc ispec.Descriptor) error
	// Delete fails for a name that is not there.
	Delete(ctx context.Context, name string) error
	// List returns all names; the map is the caller's.
	List(ctx context.Context) (map[string]ispec.Descriptor, error)
}

// MemoryRefs are Refs that die with the process. The zero value is empty and
// ready.
type MemoryRefs struct {
	mu sync.Mutex
	m  map[string]ispec.Descriptor
}

var _ Refs = (*MemoryRefs)(nil)

// Resolve implements Refs.
func (r *MemoryRefs) Resolve(_ context.Context, name string) (ispec.Descriptor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	desc, ok := r.m[name]
	if !ok {
		return desc, fmt.Errorf("image %s: %w", name, fs.ErrNotExist)
	}
	return desc, nil
}

// Put implements Refs.
func (r *MemoryRefs) Put(_ context.Context, name string, desc ispec.Descriptor) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]ispec.Descriptor{}
	}
	r.m[name] = desc
	return nil
}

// Delete implements Refs.
func (r *MemoryRefs) Delete(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.m[name]; !ok {
		return fmt.Errorf("image %s: %w", name, fs.ErrNotExist)
	}
	delete(r.m, name)
	return nil
}

// List implements Refs.
func (r *MemoryRefs) List(context.Context) (map[string]ispec.Descriptor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.m), nil
}

// Refs keeps the names in the layout's index.json, as the annotation that other
// tools know (image-spec, annotations.md, org.opencontainers.image.ref.name):
// for programs without a database. Each change writes the whole file.
func (s *Store) Refs() Refs { return indexRefs{s} }

type indexRefs struct{ s *Store }

func (r indexRefs) load(ctx context.Context) (ispec.Index, error) {
	index, err := r.s.layout.GetIndex(ctx)
	if err != nil {
		return index, fmt.Errorf("image store %s: %w", r.s.dir, err)
	}
	for _, m := range index.Manifests {
		if err := image.CheckDescriptor(m); err != nil {
			return index, fmt.Errorf("image store %s: index.json: %w", r.s.dir, err)
		}
	}
	return index, nil
}

func refName(d ispec.Descriptor) string { return d.Annotations[ispec.AnnotationRefName] }

// without returns the manifests other than the named one.
func without(list []ispec.Descriptor, name string) []ispec.Descriptor {
	return slices.DeleteFunc(list, func(d ispec.Descriptor) bool { return refName(d) == name })
}

func (r indexRefs) save(ctx context.Context, index ispec.Index) error {
	if err := r.s.layout.PutIndex(ctx, index); err != nil {
		return fmt.Errorf("image store %s: %w", r.s.dir, err)
	}
	return syncDir(r.s.dir)
}

func (r indexRefs) Resolve(ctx context.Context, name string) (ispec.Descriptor, error) {
	index, err := r.load(ctx)
	if err != nil {
		return ispec.Descriptor{}, err
	}
	for _, m := range index.Manifests {
		if refName(m) == name {
			return strip(m), nil
		}
	}
	return ispec.Descriptor{}, fmt.Errorf("image %s: %w", name, fs.ErrNotExist)
}

func (r indexRefs) Put(ctx context.Context, name string, desc ispec.Descriptor) error {
	if err := image.CheckDescriptor(desc); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	r.s.index.Lock()
	defer r.s.index.Unlock()
	index, err := r.load(ctx)
	if err != nil {
		return err
	}
	annotations := map[string]string{ispec.AnnotationRefName: name}
	for k, v := range desc.Annotations {
		if k != ispec.AnnotationRefName {
			annotations[k] = v
		}
	}
	desc.Annotations = annotations
	index.Manifests = append(without(index.Manifests, name), desc)
	return r.save(ctx, index)
}

func (r indexRefs) Delete(ctx context.Context, name string) error {
	r.s.index.Lock()
	defer r.s.index.Unlock()
	index, err := r.load(ctx)
	if err != nil {
		return err
	}
	n := len(index.Manifests)
	index.Manifests = without(index.Manifests, name)
	if len(index.Manifests) == n {
		return fmt.Errorf("image %s: %w", name, fs.ErrNotExist)
	}
	return r.save(ctx, index)
}

func (r indexRefs) List(ctx context.Context) (map[string]ispec.Descriptor, error) {
	index, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	refs := map[string]ispec.Descriptor{}
	for _, m := range index.Manifests {
		if name := refName(m); name != "" {
			refs[name] = strip(m)
		}
	}
	return refs, nil
}

// strip takes the name off a descriptor again.
func strip(d ispec.Descriptor) ispec.Descriptor {
	d.Annotations = maps.Clone(d.Annotations)
	delete(d.Annotations, ispec.AnnotationRefName)
	if len(d.Annotations) == 0 {
		d.Annotations = nil
	}
	return d
}
