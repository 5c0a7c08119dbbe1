package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const containerPruneLong = `Those that have ended, and those that were made and never started. Volumes stay: xc
volume prune removes those that were made for them.`

// stoppedContainers are what a prune takes.
const stoppedContainers = "all containers that do not run"

func containerPruneCommand(a *App, f *pflag.FlagSet) action {
	force := forceFlag(f)
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		if err := tryFormat(*format, somePruned.Containers); err != nil {
			return err
		}
		if err := a.sure(*force, stoppedContainers); err != nil {
			return err
		}
		pruned, err := e.PruneContainers(ctx)
		if err != nil {
			return err
		}
		err = printObject(a.Stdout, *format, pruned, func(w io.Writer) error {
			for _, n := range pruned.Names {
				fmt.Fprintln(w, "Deleted: "+n)
			}
			return showReclaimed(w, pruned.Bytes)
		})
		return errors.Join(err, failures(pruned.Failed))
	}
}

// failures is the error of what a prune could not remove.
func failures(lines []string) error {
	var errs []error
	for _, l := range lines {
		errs = append(errs, errors.New(l))
	}
	return errors.Join(errs...)
}

const systemPruneLong = `All containers that do not run; then the networks that no container is connected to,
but for default, and blobs and unpacked layers that belong to no image and no
container. With --all, images of which there is no container, too; with --volumes, the
volumes without a name of their own that no container has, with their data.`

// prunedSystem is what was removed, by its kind.
type prunedSystem struct {
	Containers api.PrunedContainers `json:"containers"`
	Networks   api.PrunedNetworks   `json:"networks"`
	Volumes    api.PrunedVolumes    `json:"volumes"`
	Images     api.PrunedImages     `json:"images"`
	Bytes      int64                `json:"bytes"` // of all
}

// somePruned is what the formats of prunes are tried on.
var somePruned = prunedSystem{
	Containers: api.PrunedContainers{Names: []string{""}, Failed: []string{""}},
	Networks:   api.PrunedNetworks{Names: []string{""}, Failed: []string{""}},
	Volumes:    api.PrunedVolumes{Names: []string{""}},
	Images:     api.PrunedImages{Names: []string{""}, Blobs: []string{""}, Roots: []string{""}},
}

func systemPruneCommand(a *App, f *pflag.FlagSet) action {
	all := f.BoolP("all", "a", false, "images of which there is no container, too")
	volumes := f.Bool("volumes", false, "volumes without a name, too")
	force := forceFlag(f)
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		if err := tryFormat(*format, somePruned); err != nil {
			return err
		}
		what := []string{stoppedContainers, unusedNetworks}
		if *volumes {
			what = append(what, unusedVolumes(false))
		}
		if err := a.sure(*force, strings.Join(what, "; ")+"; and "+unusedImages(*all)); err != nil {
			return err
		}
		pruned, err := pruneSystem(ctx, e, *all, *volumes)
		return errors.Join(printObject(a.Stdout, *format, pruned, pruned.show), err)
	}
}

// pruneSystem prunes one kind after the other: containers have what follows. It goes on
// past failures.
func pruneSystem(ctx context.Context, e api.Engine, all, volumes bool) (p prunedSystem, err error) {
	var errs [6]error
	p.Containers, errs[0] = e.PruneContainers(ctx)
	p.Networks, errs[1] = e.PruneNetworks(ctx)
	if volumes {
		p.Volumes, errs[2] = e.PruneVolumes(ctx, api.PruneVolumesOptions{})
	}
	p.Images, errs[3] = e.PruneImages(ctx, api.PruneImagesOptions{All: all})
	errs[4], errs[5] = failures(p.Containers.Failed), failures(p.Networks.Failed)
	for _, list := range []*[]string{&p.Containers.Names, &p.Networks.Names, &p.Volumes.Names, &p.Images.Names, &p.Images.Blobs, &p.Images.Roots} {
		if *list == nil { // for JSON
			*list = []string{}
		}
	}
	p.Bytes = p.Containers.Bytes + p.Volumes.Bytes + p.Images.Bytes
	return p, errors.Join(errs[:]...)
}

func (p prunedSystem) show(w io.Writer) error {
	for _, kind := range []struct {
		name  string
		names []string
	}{{"container", p.Containers.Names}, {"network", p.Networks.Names}, {"volume", p.Volumes.Names}} {
		for _, n := range kind.names {
			fmt.Fprintf(w, "Deleted %s: %s\n", kind.name, n)
		}
	}
	showPrunedImages(w, p.Images)
	return showReclaimed(w, p.Bytes)
}
