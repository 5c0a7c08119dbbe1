package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/joyboyid/xc/image"
)

// source is a place to pull from, and how patient to be with it.
type source struct {
	ref    image.Reference
	mirror bool
}

// sources are where to ask for what a reference names: the mirrors of its
// registry, then the registry itself.
func (c *Client) sources(ref image.Reference) []source {
	var list []source
	for _, m := range c.Hosts[ref.Domain].Mirrors {
		host, prefix, _ := strings.Cut(m, "/")
		r := ref
		r.Domain = host
		if prefix != "" {
			r.Path = prefix + "/" + ref.Path
		}
		list = append(list, source{r, true})
	}
	return append(list, source{ref, false})
}

// retry is how long to try at a source: a mirror is not waited for.
func (c *Client) retry(s source) Retry {
	if !s.mirror {
		return c.Retry
	}
	r := c.Retry
	r.Attempts = 1
	return r
}

// fromSources tries one source after the other until one has what is asked
// for. What went wrong with mirrors is told if it goes wrong with the registry,
// too.
func (c *Client) fromSources(ctx context.Context, sources []source, try func(e endpoint, s source) error) error {
	var errs []error
	for _, s := range sources {
		e, err := c.endpoint(ctx, s.ref)
		if err == nil {
			err = try(e, s)
		}
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return err
		}
		errs = append([]error{err}, errs...) // the registry's first
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
