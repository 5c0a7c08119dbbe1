package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image/store"
)

// listed is a container that a filter looks at.
type listed struct {
	api.Container
	manifest string // digest of that of its image
}

// ListContainers implements api.Containers.
func (e *Engine) ListContainers(ctx context.Context, opt api.ListOptions) ([]api.Container, error) {
	fits, err := e.containerFilters(ctx).parse(opt.Filters)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	records, err := e.db.Containers(ctx)
	if err != nil {
		return nil, err
	}
	all := opt.All || slices.ContainsFunc(opt.Filters, ofStopped)
	list := []api.Container{}
	for _, r := range records {
		e.mu.Lock()
		c := e.containers[r.ID]
		e.mu.Unlock()
		if c == nil {
			continue
		}
		d := listed{e.describe(c), c.plan.Manifest}
		if (all || d.State == api.StateRunning) && fits(d) {
			list = append(list, d.Container)
		}
	}
	return list, nil
}

// ofStopped tells whether a filter is about what does not run, too.
func ofStopped(filter string) bool {
	return strings.HasPrefix(filter, "status=") || strings.HasPrefix(filter, "exited=")
}

func (e *Engine) containerFilters(ctx context.Context) filters[listed] {
	return filters[listed]{
		keys: api.ContainerFilters(), each: []string{"label"},
		read: func(key, value string) (func(listed) bool, error) { return e.containerFilter(ctx, key, value) },
	}
}

// containerFilter reads one filter. What it names need not be there, unless that
// leaves nothing to compare with.
func (e *Engine) containerFilter(ctx context.Context, key, value string) (func(listed) bool, error) {
	switch key {
	case "id":
		return func(c listed) bool { return strings.HasPrefix(c.ID, value) }, nil
	case "name":
		return nameFilter(value)
	case "label":
		fits := labelled(value)
		return func(c listed) bool { return fits(c.Labels) }, nil
	case "status":
		states := []string{api.StateCreated, api.StateRunning, api.StateExited}
		if !slices.Contains(states, value) && !slices.Contains(foreignStates, value) {
			return nil, fmt.Errorf("%w: a container is %s", fs.ErrInvalid, strings.Join(states, ", or "))
		}
		return func(c listed) bool { return c.State == value }, nil
	case "exited":
		code, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%w: expected an exit code, 0 to 255", fs.ErrInvalid)
		}
		return func(c listed) bool { return c.State == api.StateExited && c.Exit != nil && c.Exit.Code == int(code) }, nil
	case "ancestor":
		return e.ancestorFilter(ctx, value)
	case "network":
		return e.networkFilter(value), nil
	case "volume":
		return volumeFilter(value), nil
	}
	other, err := e.find(ctx, value)
	if err != nil {
		return nil, err
	}
	if key == "before" {
		return func(c listed) bool { return c.Created.Before(other.created) }, nil
	}
	return func(c listed) bool { return c.Created.After(other.created) }, nil
}

// foreignStates are those that containers have with Docker only: a script that asks
// for them gets none.
var foreignStates = []string{"paused", "restarting", "removing", "dead"}

// nameFilter reads a regular expression. As with Docker it fits anywhere in a name,
// of which it may think as one that begins with a slash.
func nameFilter(value string) (func(listed) bool, error) {
	re, err := regexp.Compile(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	return func(c listed) bool { return re.MatchString(c.Name) || re.MatchString("/"+c.Name) }, nil
}

// networkFilter takes the name or the id of a network.
func (e *Engine) networkFilter(value string) func(listed) bool {
	if n, err := e.findNetwork(value); err == nil {
		value = n.name()
	}
	return func(c listed) bool { return slices.Contains(strings.Split(c.Network, ","), value) }
}

// volumeFilter takes the name of a volume, what is mounted, or where it is.
func volumeFilter(value string) func(listed) bool {
	place := path.Clean(value)
	return func(c listed) bool {
		return slices.ContainsFunc(c.Mounts, func(m api.Mount) bool {
			return m.Source == value || path.Clean(m.Destination) == place
		})
	}
}

// ancestorFilter takes an image that containers were made of, by the name that they
// show or by whatever else finds it, or that their images were built on.
func (e *Engine) ancestorFilter(ctx context.Context, value string) (func(listed) bool, error) {
	var names []string
	refs, _ := e.references(value) // what is no name is a digest
	for _, ref := range refs {
		names = append(names, ref.String())
	}
	base, err := e.lookUp(ctx, value)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	there := err == nil
	known := map[string]bool{} // manifests
	return func(c listed) bool {
		if slices.Contains(names, c.Image) {
			return true
		}
		if !there || c.manifest == "" {
			return false
		}
		fits, looked := known[c.manifest]
		if !looked {
			img, err := e.images.images.LoadDigest(digest.Digest(c.manifest)) // kept as long as the container
			fits = err == nil && builtOn(img, base)
			known[c.manifest] = fits
		}
		return fits
	}, nil
}

// builtOn tells whether an image is another one, or has all of its layers and more,
// or of its history.
func builtOn(img, base store.Image) bool {
	if img.ConfigID == base.ConfigID {
		return true
	}
	n := len(base.Layers)
	if n == 0 || len(img.Layers) < n || img.Layers[n-1].Chain != base.Chain {
		return false
	}
	steps := base.Config.History
	return len(img.Layers) > n || len(img.Config.History) > len(steps) && slices.EqualFunc(img.Config.History[:len(steps)], steps, sameStep)
}

func sameStep(a, b ispec.History) bool {
	if (a.Created == nil) != (b.Created == nil) || a.Created != nil && !a.Created.Equal(*b.Created) {
		return false
	}
	return a.CreatedBy == b.CreatedBy && a.EmptyLayer == b.EmptyLayer
}
