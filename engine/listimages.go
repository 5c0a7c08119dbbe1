package engine

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
)

// ListImages implements api.Images.
func (e *Engine) ListImages(ctx context.Context, opt api.ListImagesOptions) ([]api.Image, error) {
	choice := imageChoice{e: e}
	fits, err := choice.filters(ctx).parse(opt.Filters)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	list, err := e.images.images.List(ctx)
	if err != nil && list == nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	out := []api.Image{}
	for _, img := range list {
		i := slices.IndexFunc(out, func(o api.Image) bool { return o.Digest == img.Manifest.Digest.String() })
		if i >= 0 {
			out[i].Names = append(out[i].Names, img.Name.String())
			continue
		}
		out = append(out, describeImage(img))
	}
	out = slices.DeleteFunc(out, func(img api.Image) bool { return !fits(img) })
	if len(choice.names) > 0 {
		for i := range out {
			out[i].Names = slices.DeleteFunc(out[i].Names, func(n string) bool { return !choice.named(n) })
		}
	}
	return out, nil
}

// imageChoice is what a list of images is asked for.
type imageChoice struct {
	e     *Engine
	names []string // patterns that a name has to fit one of, if there are some
}

func (ch *imageChoice) filters(ctx context.Context) filters[api.Image] {
	return filters[api.Image]{
		keys: api.ImageFilters(), each: []string{"label"},
		read: func(key, value string) (func(api.Image) bool, error) { return ch.filter(ctx, key, value) },
	}
}

func (ch *imageChoice) filter(ctx context.Context, key, value string) (func(api.Image) bool, error) {
	switch key {
	case "label":
		fits := labelled(value)
		return func(img api.Image) bool { return fits(img.Labels) }, nil
	case "dangling":
		want, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%w: expected true or false", fs.ErrInvalid)
		}
		return func(img api.Image) bool { return (len(img.Names) == 0) == want }, nil
	case "reference":
		if _, err := path.Match(value, ""); err != nil {
			return nil, fmt.Errorf("%w: %w", fs.ErrInvalid, err)
		}
		ch.names = append(ch.names, value)
		return func(img api.Image) bool { return slices.ContainsFunc(img.Names, ch.named) }, nil
	}
	other, err := ch.e.InspectImage(ctx, value)
	if err != nil {
		return nil, err
	}
	if other.Created.IsZero() {
		return nil, fmt.Errorf("%w: it does not say when it was made", fs.ErrInvalid)
	}
	if key == "before" {
		return func(img api.Image) bool { return !img.Created.IsZero() && img.Created.Before(other.Created) }, nil
	}
	return func(img api.Image) bool { return img.Created.After(other.Created) }, nil
}

// named tells whether a name fits a pattern of those asked for.
func (ch *imageChoice) named(name string) bool {
	ref, err := image.ParseReference(name)
	return err == nil && slices.ContainsFunc(ch.names, func(pattern string) bool { return ch.e.fitsPattern(ref, pattern) })
}

// fitsPattern tells whether a reference, with or without what is behind its
// repository, is like a pattern of path.Match. Both may be as a user writes them.
func (e *Engine) fitsPattern(ref image.Reference, pattern string) bool {
	patterns := []string{pattern}
	if !strings.ContainsAny(pattern, `*?[\`) { // a name, which may be without its registry
		for _, place := range e.cfg.Search {
			patterns = append(patterns, strings.TrimSuffix(place, "/")+"/"+pattern)
		}
	}
	suffix := strings.TrimPrefix(ref.String(), ref.Name())
	tag, _, _ := strings.Cut(suffix, "@")
	for _, whole := range []string{ref.Familiar(), ref.String()} {
		name := strings.TrimSuffix(whole, suffix)
		for _, p := range patterns {
			for _, form := range []string{name, name + tag, whole} {
				if ok, err := path.Match(p, form); ok && err == nil {
					return true
				}
			}
		}
	}
	return false
}
