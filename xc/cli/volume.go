package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const (
	volumeCreateLong = `Without a name the volume gets one, and counts as anonymous: prune removes it when
no container has it. The driver directory keeps it below the state directory of
xcd; zfs, where default_volume_dataset is configured, in a file system that takes
properties (-o quota=10G) and can be a clone of a snapshot (--from VOLUME@SNAPSHOT).`
	volumeRmLong = `A volume goes with all its data; not while a container has it, or it has snapshots.
VOLUME@SNAPSHOT is a snapshot.`
	volumePruneLong = `Volumes that no container has: those that were made without a name, and with --all
the others, too. Volumes with snapshots stay.`
)

func volumeCommands() []command {
	volumes := completer{names: volumeNames, many: true}
	return []command{{use: "volume", short: "Look after data that outlive containers", sub: []command{
		{use: "create [FLAGS] [NAME]", short: "Make a volume", long: volumeCreateLong, args: cobra.MaximumNArgs(1), setup: volumeCreateCommand},
		{use: "inspect [FLAGS] NAME...", short: "Show all about volumes", args: cobra.MinimumNArgs(1), complete: volumes, setup: volumeInspectCommand},
		{use: "ls [FLAGS]", aliases: []string{"list"}, short: "List volumes", args: cobra.NoArgs, setup: volumeLsCommand},
		{use: "prune [FLAGS]", short: "Remove volumes that no container has", long: volumePruneLong, args: cobra.NoArgs, setup: volumePruneCommand},
		{use: "rm [FLAGS] NAME...", aliases: []string{"remove"}, short: "Remove volumes or snapshots", long: volumeRmLong, args: cobra.MinimumNArgs(1), complete: volumes, setup: volumeRmCommand},
		{
			use: "snapshot [FLAGS] VOLUME NAME", short: "Keep a volume as it is now: zfs", args: cobra.ExactArgs(2),
			complete: completer{names: volumeNames}, setup: volumeSnapshotCommand,
		},
	}}}
}

func volumeNames(ctx context.Context, e api.Engine) ([]string, error) {
	list, err := e.ListVolumes(ctx)
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	return names, err
}

func volumeCreateCommand(a *App, f *pflag.FlagSet) action {
	var spec api.VolumeSpec
	driver := word{"", []string{api.DriverDirectory, api.DriverZFS}}
	f.VarP(&driver, "driver", "d", "how it is kept (zfs where it is configured, else directory)")
	label := f.StringArrayP("label", "l", nil, "attach KEY=VALUE to the volume")
	option := f.StringArrayP("opt", "o", nil, "zfs: a property of its file system, as quota=10G")
	f.StringVar(&spec.From, "from", "", "zfs: VOLUME@SNAPSHOT that it is to be a clone of")
	ignore := f.Bool("ignore", false, "do nothing when there is a volume of this name")
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		if spec.Labels, err = labels(*label); err != nil {
			return err
		}
		if spec.Options, err = volumeOptions(*option); err != nil {
			return err
		}
		spec.Driver, spec.Name = driver.value, strings.Join(args, "")
		v, err := e.CreateVolume(ctx, spec)
		if *ignore && errors.Is(err, fs.ErrExist) {
			v, err = e.InspectVolume(ctx, spec.Name)
		}
		if err == nil {
			fmt.Fprintln(a.Stdout, v.Name)
		}
		return err
	}
}

func volumeOptions(flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, o := range flags {
		key, value, ok := strings.Cut(o, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--opt: %q is no NAME=VALUE", o)
		}
		m[key] = value
	}
	return m, nil
}

func volumeInspectCommand(a *App, f *pflag.FlagSet) action {
	format := inspectFormat(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return a.inspectAll(*format, args, func(name string) (any, error) { return e.InspectVolume(ctx, name) })
	}
}

// volumeRow is a line of xc volume ls, named as Docker names it.
type volumeRow struct {
	Driver     string
	Name       string
	Mountpoint string
	Labels     string
	Users      string
	CreatedAt  string
}

const volumeTable = `table {{.Driver}}\t{{.Name}}\t{{.Users}}`

var volumeHeader = volumeRow{
	Driver: "DRIVER", Name: "VOLUME NAME", Mountpoint: "MOUNTPOINT", Labels: "LABELS", Users: "CONTAINERS", CreatedAt: "CREATED AT",
}

func volumeLsCommand(a *App, f *pflag.FlagSet) action {
	quiet := f.BoolP("quiet", "q", false, "only names")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.ListVolumes(ctx)
		if err != nil {
			return err
		}
		rows := []volumeRow{}
		for _, v := range list {
			rows = append(rows, volumeRow{
				Driver: v.Driver, Name: v.Name, Mountpoint: v.Mountpoint, Labels: labelList(v.Labels), Users: strings.Join(v.Users, ","),
				CreatedAt: v.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
			})
		}
		standard := volumeTable
		if *quiet {
			standard = "{{.Name}}"
		}
		return printRows(a.Stdout, *format, standard, volumeHeader, rows)
	}
}

func volumeRmCommand(a *App, f *pflag.FlagSet) action {
	var opt api.RemoveVolumeOptions
	f.BoolVarP(&opt.Force, "force", "f", false, "do not complain of one that is not there")
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) { return name, e.RemoveVolume(ctx, name, opt) })
	}
}

func volumeSnapshotCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		err := e.SnapshotVolume(ctx, args[0], args[1])
		if err == nil {
			fmt.Fprintln(a.Stdout, args[0]+"@"+args[1])
		}
		return err
	}
}

func volumePruneCommand(a *App, f *pflag.FlagSet) action {
	var opt api.PruneVolumesOptions
	f.BoolVarP(&opt.All, "all", "a", false, "volumes with a name, too")
	force := forceFlag(f)
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		if err := tryFormat(*format, somePruned.Volumes); err != nil {
			return err
		}
		if err := a.sure(*force, unusedVolumes(opt.All)); err != nil {
			return err
		}
		pruned, err := e.PruneVolumes(ctx, opt)
		if err != nil {
			return err
		}
		return printObject(a.Stdout, *format, pruned, func(w io.Writer) error {
			for _, n := range pruned.Names {
				fmt.Fprintln(w, "Deleted: "+n)
			}
			return showReclaimed(w, pruned.Bytes)
		})
	}
}

// unusedVolumes are what a prune takes.
func unusedVolumes(all bool) string {
	if all {
		return "all volumes that no container has, with their data"
	}
	return "the volumes without a name of their own that no container has, with their data"
}
