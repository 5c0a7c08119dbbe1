package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

// containerGroup is xc container: what is done to containers, also under the names
// that it has there.
func containerGroup() command {
	var sub []command
	for _, c := range slices.Concat(runCommands(), containerCommands(), commitCommands(), cpCommands(), portCommands()) {
		switch c.name() {
		case "rdr": // of ports
		case "ps":
			sub = append(sub, c.as("ls [FLAGS]", "ps", "list"))
		case "rm":
			sub = append(sub, c.as(c.use, "remove"))
		default:
			sub = append(sub, c)
		}
	}
	return command{use: "container", short: "Look after containers", sub: append(sub,
		command{
			use: "inspect [FLAGS] CONTAINER...", short: "Show all about containers", args: cobra.MinimumNArgs(1),
			complete: completer{names: containerNames(), many: true}, setup: containerInspectCommand,
		},
		command{use: "prune [FLAGS]", short: "Remove all containers that do not run", long: containerPruneLong, args: cobra.NoArgs, setup: containerPruneCommand},
	)}
}

func containerInspectCommand(a *App, f *pflag.FlagSet) action {
	format := inspectFormat(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return a.inspectAll(*format, args, func(name string) (any, error) { return e.InspectContainer(ctx, name) })
	}
}
