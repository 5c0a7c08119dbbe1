package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

// command is a row of the table. Its flags are bound by setup, which returns
// what is to be done with them.
type command struct {
	use, short string
	aliases    []string // other words for its own
	long       string
	args       cobra.PositionalArgs
	complete   completer
	values     map[string]names // of flags, for completion
	// verbatim: what follows the first argument belongs to the container's
	// command, flags included.
	verbatim bool
	// alone: it connects to the engine itself, if it can, and gets none.
	alone bool
	setup func(a *App, f *pflag.FlagSet) action
	sub   []command // of a group, such as system, which does nothing by itself
}

type action func(ctx context.Context, e api.Engine, args []string) error

// commands is the whole of xc, but for help and completion.
func commands() []command {
	var list []command
	list = append(list, runCommands()...)
	list = append(list, containerCommands()...)
	list = append(list, containerGroup())
	list = append(list, imageCommands()...)
	list = append(list, networkCommands()...)
	list = append(list, portCommands()...)
	list = append(list, commitCommands()...)
	list = append(list, cpCommands()...)
	list = append(list, volumeCommands()...)
	list = append(list, channelCommands()...)
	return append(list, systemCommands()...)
}

// as is the same command under another name, or several.
func (c command) as(use string, aliases ...string) command {
	c.use, c.aliases = use, aliases
	return c
}

// name is the command's word.
func (c command) name() string {
	word, _, _ := strings.Cut(c.use, " ")
	return word
}

func (c command) cobra(a *App) *cobra.Command {
	if c.sub != nil {
		return c.group(a)
	}
	cmd := &cobra.Command{
		Use: c.use, Aliases: c.aliases, Short: c.short, Long: c.long, Args: c.args,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     c.complete.function(a),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.SetInterspersed(!c.verbatim)
	do := c.setup(a, flags)
	for flag, list := range c.values {
		if err := cmd.RegisterFlagCompletionFunc(flag, completer{names: list, many: true}.function(a)); err != nil {
			panic(err) // a flag that the table does not have
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.alone {
			return do(cmd.Context(), nil, args)
		}
		e, err := a.session.engine(cmd.Context())
		if err != nil {
			return err
		}
		return do(cmd.Context(), e, args)
	}
	return cmd
}

// group is a command that only has commands of its own.
func (c command) group(a *App) *cobra.Command {
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, DisableFlagsInUseLine: true,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              onlySub,
	}
	for _, sub := range c.sub {
		cmd.AddCommand(sub.cobra(a))
	}
	return cmd
}

// names lists what there is of something.
type names func(ctx context.Context, e api.Engine) ([]string, error)

// completer lists what an argument may be.
type completer struct {
	names  names
	many   bool // each argument is one, not only the first
	files  bool // further arguments are files
	either bool // each argument is a name or a file
}

// completionTime bounds how long a shell waits for names.
const completionTime = 2 * time.Second

func (c completer) function(a *App) cobra.CompletionFunc {
	rest := cobra.ShellCompDirectiveNoFileComp
	if c.files {
		rest = cobra.ShellCompDirectiveDefault
	}
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if c.names == nil || len(args) > 0 && !c.many && !c.either {
			return nil, rest
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		e, err := a.session.engine(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := c.names(ctx, e)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		fit := fitting(names, prefix)
		switch {
		case c.either && len(fit) == 0:
			return nil, cobra.ShellCompDirectiveDefault
		case c.either:
			return fit, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		case slices.ContainsFunc(fit, func(word string) bool { return strings.HasSuffix(word, "=") }): // it goes on
			return fit, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

func fitting(names []string, prefix string) (fit []cobra.Completion) {
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			fit = append(fit, n)
		}
	}
	return fit
}

// containerNames lists the names of containers in one of the states.
func containerNames(states ...string) func(context.Context, api.Engine) ([]string, error) {
	return func(ctx context.Context, e api.Engine) ([]string, error) {
		list, err := e.ListContainers(ctx, api.ListOptions{All: true})
		var names []string
		for _, c := range list {
			if len(states) == 0 || strings.Contains(strings.Join(states, " "), c.State) {
				names = append(names, c.Name)
			}
		}
		return names, err
	}
}

// imageNames lists references as a user would write them.
func imageNames(ctx context.Context, e api.Engine) ([]string, error) {
	list, err := e.ListImages(ctx, api.ListImagesOptions{})
	var names []string
	for _, img := range list {
		for _, n := range img.Names {
			names = append(names, familiar(n))
		}
	}
	return names, err
}
