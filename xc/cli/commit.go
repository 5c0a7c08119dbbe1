package cli

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func commitCommands() []command {
	return []command{
		{use: "diff [FLAGS] CONTAINER", short: "Show what has changed in a container's root", long: diffLong, args: cobra.ExactArgs(1), complete: completer{names: containerNames()}, setup: diffCommand},
		{use: "commit [FLAGS] CONTAINER IMAGE", short: "Make an image of a container", long: commitLong, args: cobra.ExactArgs(2), complete: completer{names: containerNames()}, setup: commitCommand},
	}
}

const diffLong = `A line for each path that is another than in the image: A is added, C changed (a
directory also when something in it has), D removed with all that was in it.`

// diffRow is a line of xc diff.
type diffRow struct {
	Kind    string // A, C or D
	Path    string
	RawPath []byte `json:",omitempty"` // of one that is not UTF-8, as JSON has to be
}

var diffLetters = map[string]string{api.ChangeAdded: "A", api.ChangeChanged: "C", api.ChangeRemoved: "D"}

func diffCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		// Nothing is kept: there may be millions.
		return e.DiffContainer(ctx, args[0], func(c api.Change) error {
			row := diffRow{Kind: diffLetters[c.Kind], Path: c.Path}
			if row.Kind == "" {
				row.Kind = c.Kind
			}
			if !utf8.ValidString(c.Path) {
				row.RawPath = []byte(c.Path)
			}
			if *format == "" {
				_, err := fmt.Fprintf(a.Stdout, "%s %s\n", row.Kind, row.Path)
				return err
			}
			return printRows(a.Stdout, *format, "", diffRow{}, []diffRow{row})
		})
	}
}

const commitLong = `The image is the one that the container was made from, and a layer of what has
changed in its root. The container may run; on ZFS its root is seen as it is at one
moment, elsewhere each file as it is when it is read. What is mounted into the root
is not part of the image.`

func commitCommand(a *App, f *pflag.FlagSet) action {
	var spec api.CommitSpec
	f.StringVarP(&spec.Author, "author", "a", "", "who made it, as NAME <ADDRESS>")
	f.StringVarP(&spec.Message, "message", "m", "", "comment for the image's history")
	lines := f.StringArrayP("change", "c", nil, "set "+changeWords+", as a line of a Containerfile")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		spec.Name = args[1]
		if err := changes(&spec.ConfigChange, *lines); err != nil {
			return err
		}
		img, err := e.CommitContainer(ctx, args[0], spec)
		if err != nil {
			return err
		}
		return printObject(a.Stdout, *format, img, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, img.ID)
			return err
		})
	}
}
