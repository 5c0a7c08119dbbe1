package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func systemCommands() []command {
	return []command{
		{
			use: "inspect [FLAGS] NAME...", short: "Show all about containers, images, networks or volumes", args: cobra.MinimumNArgs(1),
			complete: completer{many: true, names: func(ctx context.Context, e api.Engine) ([]string, error) {
				containers, err1 := containerNames()(ctx, e)
				images, err2 := imageNames(ctx, e)
				volumes, err3 := volumeNames(ctx, e)
				networks, err4 := networkNames(ctx, e)
				return slices.Concat(containers, images, volumes, networks), errors.Join(err1, err2, err3, err4)
			}},
			setup: inspectCommand,
		},
		{use: "events [FLAGS]", short: "Show what happens to containers and images", long: eventsLong, args: cobra.NoArgs, setup: eventsCommand},
		{use: "info [FLAGS]", short: "Describe the engine and its host", args: cobra.NoArgs, setup: infoCommand},
		{use: "system", short: "Look after the engine and its host", sub: []command{
			{use: "check [FLAGS]", short: "Show what the host has of what containers need, and how to get what is missing", long: checkLong, args: cobra.NoArgs, setup: checkCommand},
			{use: "df [FLAGS]", short: "Show what takes room on the disk", args: cobra.NoArgs, setup: dfCommand},
			{use: "info [FLAGS]", short: "Describe the engine and its host", args: cobra.NoArgs, setup: infoCommand},
			{use: "prune [FLAGS]", short: "Remove what is not in use", long: systemPruneLong, args: cobra.NoArgs, setup: systemPruneCommand},
		}},
		{use: "version [FLAGS]", short: "Show the versions of xc and of the engine", args: cobra.NoArgs, alone: true, setup: versionCommand},
	}
}

func inspectCommand(a *App, f *pflag.FlagSet) action {
	kind := word{"", []string{"container", "image", "network", "volume"}}
	f.Var(&kind, "type", "only containers, images, networks, or volumes")
	format := inspectFormat(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return a.inspectAll(*format, args, func(name string) (any, error) { return inspect(ctx, e, name, kind.value) })
	}
}

// inspectAll shows what look finds of each name.
func (a *App) inspectAll(format string, names []string, look func(name string) (any, error)) error {
	found := []any{}
	var errs []error
	for _, name := range names {
		v, err := look(name)
		errs = append(errs, err)
		if err == nil {
			found = append(found, v)
		}
	}
	// As Docker: a list in JSON, also of one.
	if format == "" || format == "json" {
		errs = append(errs, printJSON(a.Stdout, found))
		return errors.Join(errs...)
	}
	for _, v := range found {
		errs = append(errs, printObject(a.Stdout, format, v, nil))
	}
	return errors.Join(errs...)
}

// inspect finds a container, or else an image, a network, or a volume.
func inspect(ctx context.Context, e api.Engine, name, kind string) (any, error) {
	for _, k := range []struct {
		name string
		look func() (any, error)
	}{
		{"container", func() (any, error) { return e.InspectContainer(ctx, name) }},
		{"image", func() (any, error) { return e.InspectImage(ctx, name) }},
		{"network", func() (any, error) { return e.InspectNetwork(ctx, name) }},
		{"volume", func() (any, error) { return e.InspectVolume(ctx, name) }},
	} {
		if kind != "" && kind != k.name {
			continue
		}
		v, err := k.look()
		if err == nil || kind == k.name || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return v, err
		}
	}
	return nil, fmt.Errorf("%s: there is no container, image, network or volume of this name: %w", name, fs.ErrNotExist)
}

func infoCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		info, err := e.Info(ctx)
		if err != nil {
			return err
		}
		return printObject(a.Stdout, *format, info, func(w io.Writer) error {
			t := tabwriter.NewWriter(w, 0, 1, 1, ' ', 0)
			for _, l := range []struct {
				name  string
				value any
			}{
				{"Containers", info.Containers}, {"Running", info.Running}, {"Images", info.Images},
				{"Version", info.Version.Version}, {"Platform", info.Version.Platform}, {"OS Release", info.OSRelease},
				{"Hostname", info.Hostname}, {"Storage", info.Storage}, {"Instance Tag", info.Tag},
				{"State Directory", info.StateDir}, {"Run Directory", info.RunDir},
			} {
				fmt.Fprintf(t, "%s:\t%v\n", l.name, l.value)
			}
			for _, warning := range info.Warnings {
				fmt.Fprintf(t, "WARNING: %s\n", warning)
			}
			return t.Flush()
		})
	}
}

// versions are those of both sides.
type versions struct {
	Client string      `json:"client"`
	Server api.Version `json:"server,omitzero"` // of the engine, if it answers
}

func versionCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, _ api.Engine, _ []string) error {
		v := versions{Client: a.Version}
		e, err := a.session.engine(ctx)
		if err == nil {
			v.Server, err = e.Version(ctx)
		}
		printErr := printObject(a.Stdout, *format, v, func(w io.Writer) error {
			if _, werr := fmt.Fprintf(w, versionLine, a.Version); werr != nil || err != nil {
				return werr
			}
			s := v.Server
			_, werr := fmt.Fprintf(w, "engine %s (API revision %d, %s, %s)\n", s.Version, s.Revision, s.Go, s.Platform)
			return werr
		})
		return errors.Join(err, printErr)
	}
}

// versionLine tells the version of this program.
const versionLine = "xc %s\n"
