package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ipc"
)

// images is the engine's image store and the client that fills it.
type images struct {
	blobs  *store.Store
	images *store.Images
	puller *registry.Puller
	login  sync.Mutex // serialises changes of the file of credentials
}

func (m *images) open(e *Engine) (err error) {
	if m.blobs, err = store.Open(filepath.Join(e.cfg.StateDir, "images")); err != nil {
		return err
	}
	m.images = &store.Images{
		Blobs: m.blobs, Refs: e.db.Refs(), Roots: e.host.Roots(),
		Unpack: e.unpack, InUse: e.chainInUse, Keep: e.manifestsInUse,
	}
	client, err := e.cfg.client()
	if err != nil {
		return err
	}
	m.puller = &registry.Puller{Client: client, Images: m.images}
	return nil
}

func (m *images) close() error {
	if m.blobs == nil {
		return nil
	}
	return m.blobs.Close()
}

// chainInUse names the containers that live on a chain.
func (e *Engine) chainInUse(_ context.Context, chain digest.Digest) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []string
	for _, c := range e.containers {
		if c.plan.Chain == chain.String() {
			names = append(names, c.name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// lookUp finds an image by a reference, or by its id or manifest digest or
// the beginning of one.
func (e *Engine) lookUp(ctx context.Context, name string) (store.Image, error) {
	refs, refErr := e.references(name)
	for _, ref := range refs {
		img, err := e.images.images.Resolve(ctx, ref)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return img, err
		}
	}
	hex := strings.TrimPrefix(name, "sha256:")
	if len(hex) >= 4 && strings.Trim(hex, "0123456789abcdef") == "" {
		list, err := e.images.images.List(ctx)
		if err != nil && list == nil {
			return store.Image{}, err
		}
		var found []store.Image
		for _, img := range list {
			if strings.HasPrefix(img.ConfigID.Encoded(), hex) || strings.HasPrefix(img.Manifest.Digest.Encoded(), hex) {
				if !slices.ContainsFunc(found, func(f store.Image) bool { return f.ConfigID == img.ConfigID }) {
					found = append(found, img)
				}
			}
		}
		switch len(found) {
		case 1:
			return found[0], nil
		case 0:
		default:
			return store.Image{}, fmt.Errorf("image %q: %w: %d images begin with it", name, fs.ErrInvalid, len(found))
		}
	}
	if refErr != nil {
		return store.Image{}, refErr
	}
	return store.Image{}, fmt.Errorf("image %s: %w on this host: pull it first", refs[0].Familiar(), fs.ErrNotExist)
}

// acquire finds the image of a container to be made, with a lease on it.
func (e *Engine) acquire(ctx context.Context, name, platform string) (store.Image, *store.Lease, error) {
	img, err := e.lookUp(ctx, name)
	if err != nil {
		return img, nil, err
	}
	img, lease, err := e.images.images.Acquire(ctx, img.Name)
	if err != nil {
		return img, nil, err
	}
	if err := e.fits(img, platform); err != nil {
		lease.Release()
		return img, nil, fmt.Errorf("image %s: %w", img.Name.Familiar(), err)
	}
	return img, lease, nil
}

// fits tells whether an image is of the platform asked for and can run here.
func (e *Engine) fits(img store.Image, platform string) error {
	have := *img.Manifest.Platform
	if platform != "" {
		want, err := image.ParsePlatform(platform)
		if err != nil {
			return err
		}
		if !image.Match(want, have) {
			return fmt.Errorf("%w for %s: the one on this host is for %s; pull it with --platform", fs.ErrNotExist, platform, image.FormatPlatform(have))
		}
	}
	if img.Chain == "" {
		return fmt.Errorf("%w: the image has no layers, so it has nothing to run", fs.ErrInvalid)
	}
	return e.host.CanRun(have.OS, have.Architecture)
}

// platforms are those to choose from an index, best first.
func (e *Engine) platforms(asked string) ([]ispec.Platform, error) {
	if asked != "" {
		p, err := image.ParsePlatform(asked)
		return []ispec.Platform{p}, err
	}
	var list []ispec.Platform
	for _, s := range e.host.Platforms() {
		p, err := image.ParsePlatform(s)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// InspectImage implements api.Images.
func (e *Engine) InspectImage(ctx context.Context, name string) (api.Image, error) {
	img, err := e.lookUp(ctx, name)
	if err != nil {
		return api.Image{}, err
	}
	list, err := e.ListImages(ctx, api.ListImagesOptions{})
	for _, out := range list {
		if out.Digest == img.Manifest.Digest.String() {
			return out, nil
		}
	}
	return describeImage(img), err
}

func describeImage(img store.Image) api.Image {
	c := img.Config.Config
	out := api.Image{
		ID: img.ConfigID.String(), Digest: img.Manifest.Digest.String(), Names: []string{img.Name.String()},
		Platform: image.FormatPlatform(*img.Manifest.Platform), Size: img.Size, Chain: img.Chain.String(),
		Layers: []string{}, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkDir: c.WorkingDir,
		User: c.User, StopSignal: c.StopSignal, Labels: c.Labels,
	}
	if img.Config.Created != nil {
		out.Created = img.Config.Created.UTC()
	}
	for _, l := range img.Layers {
		out.Layers = append(out.Layers, l.DiffID.String())
	}
	for p := range c.ExposedPorts {
		out.ExposedPorts = append(out.ExposedPorts, p)
	}
	slices.Sort(out.ExposedPorts)
	for p := range c.Volumes {
		out.Volumes = append(out.Volumes, p)
	}
	slices.Sort(out.Volumes)
	return out
}

// PullImage implements api.Images.
func (e *Engine) PullImage(ctx context.Context, name string, opt api.PullOptions, progress func(api.PullProgress) error) (api.Image, error) {
	if err := e.begin(); err != nil {
		return api.Image{}, err
	}
	defer e.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	refs, err := e.references(name)
	if err != nil {
		return api.Image{}, err
	}
	want, err := e.platforms(opt.Platform)
	if err != nil {
		return api.Image{}, fmt.Errorf("pull %s: %w", refs[0].Familiar(), err)
	}
	var got registry.Result
	err = relay(ctx, progress, func(ctx context.Context, emit func(registry.Event)) error {
		got, err = e.pullFirst(ctx, refs, registry.Options{Platforms: want, OSVersion: e.host.OSRelease(), Progress: emit})
		return err
	})
	if err != nil {
		return api.Image{}, err
	}
	img := describeImage(got.Image)
	img.Warning = got.Warning
	e.tell(imageEvent(api.EventPull, img.Digest, img.Names[0]))
	return img, nil
}

// pullFirst pulls from the first of the places that has the image. The error
// tells of all of them.
func (e *Engine) pullFirst(ctx context.Context, refs []image.Reference, o registry.Options) (registry.Result, error) {
	var errs []error
	for _, ref := range refs {
		got, err := e.images.puller.Pull(ctx, ref, o)
		if err == nil {
			return got, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) { // which is how some say that they do not have it
			break
		}
	}
	if len(errs) == 1 {
		return registry.Result{}, errs[0]
	}
	return registry.Result{}, errors.Join(errs...)
}

// ImportImage implements api.Images.
func (e *Engine) ImportImage(ctx context.Context, spec api.ImportSpec) (api.Image, error) {
	if err := e.begin(); err != nil {
		return api.Image{}, err
	}
	defer e.end()
	if spec.Archive == nil {
		return api.Image{}, fmt.Errorf("import %s: %w: no archive", spec.Name, fs.ErrInvalid)
	}
	ref, err := image.ParseReference(spec.Name)
	if err = errors.Join(err, ipc.CheckText(spec)); err != nil {
		return api.Image{}, err
	}
	platform := spec.Platform
	if platform == "" {
		platform = e.host.Platform()
	}
	p, err := image.ParsePlatform(platform)
	if err != nil {
		return api.Image{}, fmt.Errorf("import %s: %w", ref.Familiar(), err)
	}
	p.OSVersion = spec.OSVersion
	config, err := changed(ispec.ImageConfig{}, spec.ConfigChange)
	if err != nil {
		return api.Image{}, fmt.Errorf("import %s: %w", ref.Familiar(), err)
	}
	// The archive may be a pipe that nobody writes to.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	archive, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, spec.Archive)
		w.CloseWithError(err) //nolint:errcheck // always nil
	}()
	defer context.AfterFunc(ctx, func() { archive.CloseWithError(context.Cause(ctx)) })() //nolint:errcheck // always nil
	tar, err := plain(ctx, archive)
	if err != nil {
		archive.Close()
		return api.Image{}, fmt.Errorf("import %s: %w", ref.Familiar(), err)
	}
	defer stop(tar)
	defer archive.Close() // before it: xz may wait for more
	img, err := e.images.images.Import(ctx, tar, store.ImportOptions{
		Name: ref, Platform: p,
		Config: config,
	})
	if err != nil {
		return api.Image{}, err
	}
	e.tell(imageEvent(api.EventImport, img.Manifest.Digest.String(), ref.String()))
	return describeImage(img), nil
}

// RemoveImage implements api.Images.
func (e *Engine) RemoveImage(ctx context.Context, name string, opt api.RemoveImageOptions) ([]string, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	img, err := e.InspectImage(ctx, name)
	if err != nil {
		return nil, e.removeDamaged(ctx, name, err)
	}
	names := img.Names
	if given := e.given(name, names); given != "" {
		names = []string{given}
	} else if len(names) > 1 && !opt.Force {
		return nil, fmt.Errorf("remove image %s: it has the names %s: name one, or use force", name, strings.Join(names, ", "))
	}
	if len(names) == len(img.Names) {
		if err := e.unused(ctx, img); err != nil {
			return nil, fmt.Errorf("remove image %s: %w", name, err)
		}
	}
	removed := []string{}
	for _, n := range names {
		ref, err := image.ParseReference(n)
		if err != nil {
			return removed, err
		}
		if err := e.images.images.Remove(ctx, ref); err != nil {
			return removed, fmt.Errorf("remove image %s: %w", ref.Familiar(), err)
		}
		removed = append(removed, n)
		e.tell(imageEvent(api.EventUntag, img.Digest, n))
	}
	if len(names) == len(img.Names) {
		e.tell(imageEvent(api.EventRemove, img.Digest, names[0]))
	}
	pruned, err := e.images.images.Prune(context.WithoutCancel(ctx))
	for _, d := range pruned.Blobs {
		removed = append(removed, d.String())
	}
	return removed, err
}

// given is which of an image's names it was named by, if by one.
func (e *Engine) given(name string, names []string) string {
	refs, _ := e.references(name) // what is no name is a digest
	for _, ref := range refs {
		if slices.Contains(names, ref.String()) {
			return ref.String()
		}
	}
	return ""
}

// removeDamaged takes the name off an image that cannot be read, which is all
// that can be done for it; cause is why it cannot.
func (e *Engine) removeDamaged(ctx context.Context, name string, cause error) error {
	ref, err := image.ParseReference(name)
	if err != nil || errors.Is(cause, fs.ErrNotExist) {
		return cause
	}
	if err := e.images.images.Remove(ctx, ref); err != nil {
		return errors.Join(cause, err)
	}
	e.tell(imageEvent(api.EventUntag, "", ref.String()))
	return fmt.Errorf("the name %s was removed, of an image that cannot be read: %w", ref.Familiar(), cause)
}

// unused tells which container was made of an image, if one was. Those that are
// removing themselves are waited for.
func (e *Engine) unused(ctx context.Context, img api.Image) error {
	e.mu.Lock()
	users := slices.Collect(maps.Values(e.containers))
	e.mu.Unlock()
	for _, c := range users {
		if c.plan.Manifest != img.Digest {
			continue
		}
		if left, err := e.gone(ctx, c); err != nil || !left {
			return errors.Join(fmt.Errorf("container %s is made of it: remove that first", c.name()), err)
		}
	}
	return nil
}
