// Package cli has the commands of xc: each is a row in a table with its words,
// its flags and a function over [api.Engine], never over a concrete client.
// Docker's words and flags, where they mean the same.
//
//	app := &cli.App{Dial: dial, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
//	os.Exit(app.Run(ctx, os.Args[1:]))
//
// Exit codes: run, exec and attach end with the code of what they ran, 128+n
// where signal n ended it; 127 when the command was not found in the container,
// 126 when it cannot be executed; whatever else goes wrong in any command is
// 125. Results go to standard output, everything else to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/joyboyid/xc/engine/api"
)

// Exit codes of xc itself.
const (
	exitFailed        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// App is xc with all that it touches.
type App struct {
	// Dial connects to the engine. It is called when a command first needs the
	// engine, and again when the connection was lost.
	Dial func(ctx context.Context, socket string) (api.Engine, error)
	// Lost tells that a call got no answer because the engine went away: a new
	// connection may be asked the same.
	Lost func(error) bool

	Socket  string // where the engine answers, unless --socket says otherwise
	Version string // of this program

	Stdin, Stdout, Stderr *os.File

	session session
}

// exitError ends xc with a code of its own. Without err nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Run carries out one command line and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	a.session.app = a
	root := a.root(args)
	root.SetArgs(args)
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	builtin(root, args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.err != nil {
			a.complain(exit.err)
		}
		return exit.code
	}
	a.complain(err)
	return exitFailed
}

// complain prints an error in one line.
func (a *App) complain(err error) {
	fmt.Fprintln(a.Stderr, "xc: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
}

// root is the tree of commands. Where the first argument is one of them it has
// only that: the flags of all take longer to make than most commands to answer.
func (a *App) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:                "xc",
		Short:              "Run containers",
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they take several lines
	}
	root.Version = a.Version
	root.SetVersionTemplate(fmt.Sprintf(versionLine, "{{.Version}}"))
	root.Flags().Bool("version", false, "show the version of xc")
	root.PersistentFlags().StringVar(&a.Socket, "socket", a.Socket, "socket of xcd (or $XC_SOCKET)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	list := commands()
	if i := slices.IndexFunc(list, func(c command) bool { return len(args) > 0 && c.name() == args[0] }); i >= 0 {
		list = list[i : i+1]
		root.CompletionOptions.DisableDefaultCmd = true
	}
	for _, c := range list {
		root.AddCommand(c.cobra(a))
	}
	return root
}

// onlySub is what a command does that only has commands of its own.
func onlySub(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q; see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return cmd.Help()
}

// failure gives an error of a run or an exec its exit code.
func failure(err error) error {
	var exit *exitError
	switch {
	case err == nil, errors.As(err, &exit):
		return err
	case errors.Is(err, api.ErrCommandNotFound):
		return &exitError{exitNotFound, err}
	case errors.Is(err, api.ErrNotExecutable):
		return &exitError{exitNotExecutable, err}
	}
	return &exitError{exitFailed, err}
}

// ended gives the end of a process as the end of xc.
func ended(x api.Exit) error {
	switch {
	case x.Error != "":
		return &exitError{x.Code, errors.New(x.Error)}
	case x.Lost:
		return &exitError{x.Code, errors.New("how the container ended is not known: its run loop was killed")}
	case x.Code != 0:
		return &exitError{code: x.Code}
	}
	return nil
}

// eachArg calls f for every argument, goes on past failures, and prints what f
// returns.
func eachArg(w io.Writer, args []string, f func(name string) (string, error)) error {
	var errs []error
	for _, name := range args {
		out, err := f(name)
		errs = append(errs, err)
		if err == nil && out != "" {
			fmt.Fprintln(w, out)
		}
	}
	return errors.Join(errs...)
}
