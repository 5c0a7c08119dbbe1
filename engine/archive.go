package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

// SaveImages implements api.Images.
func (e *Engine) SaveImages(ctx context.Context, spec api.SaveSpec) error {
	if err := e.begin(); err != nil {
		return err
	}
	defer e.end()
	if spec.Archive == nil || len(spec.Names) == 0 {
		return fmt.Errorf("save images: %w: names and an archive are needed", fs.ErrInvalid)
	}
	images, lease, err := e.images.images.AcquireAll(ctx, func(ctx context.Context) (list []store.Image, err error) {
		for _, name := range spec.Names {
			img, err := e.lookUp(ctx, name)
			if err != nil {
				return nil, err
			}
			list = append(list, img)
		}
		return list, nil
	})
	if err != nil {
		return err
	}
	defer lease.Release()
	// The archive may be a pipe that nobody reads from.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	err = feed(ctx, spec.Archive, func(w io.Writer) error { return e.images.images.Save(ctx, w, images) })
	if err == nil {
		for _, img := range images {
			e.tell(imageEvent(api.EventSave, img.Manifest.Digest.String(), img.Name.String()))
		}
	}
	return err
}

// LoadImages implements api.Images.
func (e *Engine) LoadImages(ctx context.Context, spec api.LoadSpec) ([]api.Image, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	if spec.Archive == nil {
		return nil, fmt.Errorf("load images: %w: no archive", fs.ErrInvalid)
	}
	want, err := e.platforms(spec.Platform)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	o := store.LoadOptions{Platforms: want, OSVersion: e.host.OSRelease()}
	if spec.Name != "" {
		if o.Name, err = image.ParseReference(spec.Name); err != nil {
			return nil, err
		}
	}
	// The archive may be a pipe that nobody writes to.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	archive, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, spec.Archive)
		_ = w.CloseWithError(err) // always nil
	}()
	defer context.AfterFunc(ctx, func() { _ = archive.CloseWithError(context.Cause(ctx)) })()
	defer archive.Close()
	images, err := e.images.images.LoadArchive(ctx, archive, o)
	out := []api.Image{}
	for _, img := range images {
		out = append(out, describeImage(img))
		e.tell(imageEvent(api.EventLoad, img.Manifest.Digest.String(), img.Name.String()))
	}
	return out, err
}

// CheckImages implements api.Images.
func (e *Engine) CheckImages(ctx context.Context, opt api.CheckImagesOptions) (api.ImageCheck, error) {
	var out api.ImageCheck
	if err := e.begin(); err != nil {
		return out, err
	}
	defer e.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	found, err := e.images.images.Check(ctx)
	if err != nil {
		return out, fmt.Errorf("check images: %w", err)
	}
	left := found
	if opt.Repair && len(found) > 0 {
		undone, repairErr := e.images.puller.Repair(ctx, found)
		if left, err = e.images.images.Check(ctx); err != nil {
			return out, errors.Join(fmt.Errorf("check images: %w", err), repairErr)
		}
		left = append(left, undone...)
		if repairErr != nil {
			left = append(left, store.Problem{Object: "repair", Err: repairErr})
		}
	}
	still := map[string]bool{} // what is not repaired before nothing is wrong with it any more
	for _, p := range left {
		still[p.Object] = true
		out.Problems = append(out.Problems, api.ImageProblem{Object: p.Object, Problem: p.Err.Error()})
	}
	for _, p := range found {
		if !still[p.Object] {
			out.Repaired = append(out.Repaired, api.ImageProblem{Object: p.Object, Problem: p.Err.Error()})
		}
	}
	refs, err := e.images.images.Refs.List(ctx)
	if err != nil {
		return out, err
	}
	out.Images = len(refs)
	usage, err := e.images.images.BlobUsage(nil)
	out.Blobs = usage.Blobs
	return out, err
}
