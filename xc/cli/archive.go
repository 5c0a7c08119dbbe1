package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/internal/outfile"
)

func archiveCommands() []command {
	return []command{
		{use: "save [FLAGS] IMAGE...", short: "Write images to an archive", long: saveLong, args: cobra.MinimumNArgs(1), complete: completer{names: imageNames, many: true}, setup: saveCommand},
		{use: "load [FLAGS]", short: "Read images from an archive", long: loadLong, args: cobra.NoArgs, setup: loadCommand},
	}
}

const saveLong = `The archive is an OCI layout and a Docker archive in one: xc load, docker load and
skopeo (oci-archive: and docker-archive:) read it. The file appears, or replaces one that
was there, when the archive is whole.`

func saveCommand(a *App, f *pflag.FlagSet) action {
	output := f.StringP("output", "o", "", "file to write; standard output when missing")
	return func(ctx context.Context, e api.Engine, args []string) error {
		if *output == "" {
			if isTerminal(a.Stdout) {
				return errors.New("an archive is nothing for a terminal: use --output, or redirect")
			}
			return e.SaveImages(ctx, api.SaveSpec{Names: args, Archive: a.Stdout})
		}
		file, err := outfile.Create(*output)
		if err != nil {
			return err
		}
		ctx, stop := outfile.Interruptible(ctx) // not before: a FIFO may be waiting for its reader
		defer stop()
		return file.Finish(e.SaveImages(ctx, api.SaveSpec{Names: args, Archive: file.File}))
	}
}

const loadLong = `The archive is an OCI layout or what docker save writes, plain or compressed with
gzip or zstd. Of an image for several platforms one is taken.`

func loadCommand(a *App, f *pflag.FlagSet) action {
	var spec api.LoadSpec
	input := f.StringP("input", "i", "", "file to read; standard input when missing")
	f.StringVar(&spec.Platform, "platform", "", "os/arch[/variant]; the best this host can run when missing")
	f.StringVar(&spec.Name, "name", "", "name for an image that has none in the archive")
	quiet := f.BoolP("quiet", "q", false, "only the ids")
	return func(ctx context.Context, e api.Engine, _ []string) (err error) {
		spec.Archive = a.Stdin
		if *input != "" {
			if spec.Archive, err = os.Open(*input); err != nil {
				return err
			}
			defer spec.Archive.Close()
		} else if isTerminal(a.Stdin) {
			return errors.New("an archive cannot be typed: use --input, or redirect")
		}
		images, err := e.LoadImages(ctx, spec)
		for _, img := range images {
			if *quiet {
				fmt.Fprintln(a.Stdout, img.ID)
				continue
			}
			for _, n := range img.Names {
				fmt.Fprintln(a.Stdout, "Loaded image: "+familiar(n))
			}
		}
		return err
	}
}
