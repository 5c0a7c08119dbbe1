package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const channelLong = `A channel is a socket on which a part of the engine can be called: the methods that
--allow names, as docs/api.md has them, or all of a group as Images.*; without it
those that only show. It is in a directory of its own, PATH, to be mounted into a
container or a jail: xc run -v PATH:/run/xc, and inside xc --socket /run/xc/xc.sock.
It stays until xc channel rm. Who may create containers is root on this host.`

func channelCommands() []command {
	return []command{{use: "channel", short: "Let others call a part of the engine", long: channelLong, sub: []command{
		{
			use: "create [FLAGS] PATH", short: "Make a directory with a socket for others", long: channelLong, args: cobra.ExactArgs(1),
			complete: completer{files: true}, values: map[string]names{"allow": methodPatterns}, setup: channelCreateCommand,
		},
		{use: "ls [FLAGS]", short: "List channels", args: cobra.NoArgs, setup: channelListCommand},
		{
			use: "rm PATH...", short: "Remove channels and end their connections", args: cobra.MinimumNArgs(1),
			complete: completer{names: channelPaths, many: true}, setup: channelRemoveCommand,
		},
	}}}
}

func channelCreateCommand(a *App, f *pflag.FlagSet) action {
	var spec api.ChannelSpec
	f.StringSliceVar(&spec.Allow, "allow", nil, "a method that may be called, or a group of them as Images.*")
	f.StringVar(&spec.Mode, "mode", "0600", "permissions of the socket")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		if spec.Path, err = filepath.Abs(args[0]); err != nil {
			return err
		}
		c, err := e.CreateChannel(ctx, spec)
		if err != nil {
			return err
		}
		standard := *format
		if standard == "" {
			standard = "{{.Path}}"
		}
		return printObject(a.Stdout, standard, c, nil)
	}
}

// channelRow is a line of xc channel ls.
type channelRow struct {
	Path         string
	Socket       string
	Mode         string
	Allow        string
	CreatedSince string
	CreatedAt    string
	Status       string
}

const channelTable = `table {{.Path}}\t{{.Mode}}\t{{.CreatedSince}}\t{{.Status}}\t{{.Allow}}`

var channelHeader = channelRow{
	Path: "PATH", Socket: "SOCKET", Mode: "MODE", Allow: "ALLOWED", CreatedSince: "CREATED", CreatedAt: "CREATED AT", Status: "STATUS",
}

func channelListCommand(a *App, f *pflag.FlagSet) action {
	quiet := f.BoolP("quiet", "q", false, "only the paths")
	whole := f.Bool("no-trunc", false, "do not shorten")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.ListChannels(ctx)
		if err != nil {
			return err
		}
		now, rows := time.Now(), []channelRow{}
		for _, c := range list {
			r := channelRow{
				Path: c.Path, Socket: c.Socket, Mode: c.Mode, Allow: strings.Join(c.Allow, ","), Status: "served",
				CreatedSince: ago(now.Sub(c.Created)), CreatedAt: c.Created.Local().Format(time.RFC3339),
			}
			if n := len(c.Allow) - 1; !*whole && n > 1 {
				r.Allow = fmt.Sprintf("%s and %d more", c.Allow[0], n)
			}
			if c.Error != "" {
				r.Status = c.Error
			}
			rows = append(rows, r)
		}
		standard := channelTable
		if *quiet {
			standard = "{{.Path}}"
		}
		return printRows(a.Stdout, *format, standard, channelHeader, rows)
	}
}

func channelRemoveCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(path string) (string, error) {
			abs, err := filepath.Abs(path)
			if err != nil {
				return "", err
			}
			return e.RemoveChannel(ctx, abs)
		})
	}
}

func channelPaths(ctx context.Context, e api.Engine) ([]string, error) {
	list, err := e.ListChannels(ctx)
	var paths []string
	for _, c := range list {
		paths = append(paths, c.Path)
	}
	return paths, err
}

// methodPatterns is what a channel can allow.
func methodPatterns(context.Context, api.Engine) (list []string, _ error) {
	for _, m := range api.EngineMethods() {
		group, _, _ := strings.Cut(m, ".")
		if group == "Channels" {
			continue
		}
		if all := group + ".*"; !slices.Contains(list, all) {
			list = append(list, all)
		}
		list = append(list, m)
	}
	return list, nil
}
