package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func imageCommands() []command {
	list := command{
		use: "images [FLAGS] [REPOSITORY[:TAG]]", short: "List images", long: imagesLong, args: cobra.MaximumNArgs(1),
		complete: completer{names: imageNames}, values: map[string]names{"filter": imageFilterWords()}, setup: imagesCommand,
	}
	remove := command{use: "rmi [FLAGS] IMAGE...", short: "Remove images", args: cobra.MinimumNArgs(1), complete: completer{names: imageNames, many: true}, setup: rmiCommand}
	both := []command{ // under their own names and in the group
		{use: "pull [FLAGS] IMAGE", short: "Fetch an image from its registry", args: cobra.ExactArgs(1), complete: completer{names: imageNames}, setup: pullCommand},
		{use: "push [FLAGS] IMAGE [NAME]", short: "Bring an image to a registry", long: pushLong, args: cobra.RangeArgs(1, 2), complete: completer{names: imageNames}, setup: pushCommand},
		{
			use: "import [FLAGS] FILE|- NAME", short: "Make an image of the archive of a root file system",
			long: "The archive is a tar file, plain or compressed with gzip, zstd or xz; - is standard input.",
			args: cobra.ExactArgs(2), complete: completer{files: true}, setup: importCommand,
		},
		{use: "tag IMAGE NAME", short: "Give an image another name", long: tagLong, args: cobra.ExactArgs(2), complete: completer{names: imageNames, many: true}, setup: tagCommand},
		{use: "history [FLAGS] IMAGE", short: "Show how an image was made", args: cobra.ExactArgs(1), complete: completer{names: imageNames}, setup: historyCommand},
	}
	both = append(both, archiveCommands()...)
	group := command{use: "image", short: "Look after images", sub: append([]command{
		list.as("ls [FLAGS] [REPOSITORY[:TAG]]", "list"), remove.as("rm [FLAGS] IMAGE...", "remove"),
		{use: "inspect [FLAGS] IMAGE...", short: "Show all about images", args: cobra.MinimumNArgs(1), complete: completer{names: imageNames, many: true}, setup: imageInspectCommand},
		{use: "prune [FLAGS]", short: "Remove what no image and no container needs", long: pruneLong, args: cobra.NoArgs, setup: imagePruneCommand},
	}, both...)}
	return append(both, list, remove, group,
		command{use: "login [FLAGS] [REGISTRY]", short: "Log in to a registry", long: loginLong, args: cobra.MaximumNArgs(1), setup: loginCommand},
		command{use: "logout [REGISTRY]", short: "Forget the login of a registry", long: "The registry is docker.io when missing.", args: cobra.MaximumNArgs(1), setup: logoutCommand})
}

// imageRow is a line of xc images, named as Docker names it.
type imageRow struct {
	Repository   string
	Tag          string
	Digest       string
	ID           string
	CreatedSince string
	CreatedAt    string
	Size         string
	Platform     string
}

const imageTable = `table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`

var imageHeader = imageRow{
	Repository: "REPOSITORY", Tag: "TAG", Digest: "DIGEST", ID: "IMAGE ID",
	CreatedSince: "CREATED", CreatedAt: "CREATED AT", Size: "SIZE", Platform: "PLATFORM",
}

const imagesLong = `All of them, or those with this name: of a repository, or of one tag of it. In a name
* stands for characters other than /, ? for one, and [a-c] for one of some. Filters:

	reference=NAME       as the argument
	label=KEY[=VALUE]
	dangling=true|false  without a name, or with one
	before=IMAGE         made before that one
	since=IMAGE          made after that one

One of those with the same key has to fit, of labels each, and each key. An image that
has lost its name is not listed, so that none is dangling: xc image prune removes it.`

func imagesCommand(a *App, f *pflag.FlagSet) action {
	var opt api.ListImagesOptions
	filterFlag(f, &opt.Filters, "label=tier=db, since=alpine:3")
	quiet := f.BoolP("quiet", "q", false, "only ids")
	whole := f.Bool("no-trunc", false, "do not shorten")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		for _, name := range args {
			opt.Filters = append(opt.Filters, "reference="+name)
		}
		list, err := e.ListImages(ctx, opt)
		if err != nil {
			return err
		}
		now, rows, seen := time.Now(), []imageRow{}, map[string]bool{}
		for _, img := range list {
			if *quiet && seen[img.ID] {
				continue
			}
			seen[img.ID] = true
			rows = append(rows, newImageRows(img, now, *whole, *quiet)...)
		}
		standard := imageTable
		if *quiet {
			standard = "{{.ID}}"
		}
		return printRows(a.Stdout, *format, standard, imageHeader, rows)
	}
}

// newImageRows makes a row for each name of an image, or only one.
func newImageRows(img api.Image, now time.Time, whole, one bool) []imageRow {
	names := img.Names
	if len(names) == 0 {
		names = []string{""}
	}
	if one {
		names = names[:1]
	}
	var rows []imageRow
	for _, name := range names {
		repository, tag, _ := splitRef(familiar(name))
		r := imageRow{
			Repository: cmp.Or(repository, "<none>"), Tag: cmp.Or(tag, "<none>"), Digest: img.Digest,
			ID: shortID(img.ID, whole), CreatedSince: "N/A", CreatedAt: "N/A", Size: size(img.Size), Platform: img.Platform,
		}
		if !img.Created.IsZero() {
			r.CreatedSince = ago(now.Sub(img.Created))
			r.CreatedAt = img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
		}
		rows = append(rows, r)
	}
	return rows
}

func pullCommand(a *App, f *pflag.FlagSet) action {
	platform := f.String("platform", "", "os/arch[/variant]; the best this host can run when missing")
	quiet := f.BoolP("quiet", "q", false, "show no progress")
	return func(ctx context.Context, e api.Engine, args []string) error {
		if *quiet {
			img, err := e.PullImage(ctx, args[0], api.PullOptions{Platform: *platform}, func(api.PullProgress) error { return nil })
			if err == nil {
				fmt.Fprintln(a.Stdout, img.ID)
			}
			return err
		}
		img, err := a.pull(ctx, e, args[0], *platform)
		if err == nil {
			fmt.Fprintln(a.Stdout, img.Digest)
		}
		return err
	}
}

// pull fetches an image and shows how far it is, on standard error.
func (a *App) pull(ctx context.Context, e api.Engine, name, platform string) (api.Image, error) {
	p := newProgress(a.Stderr)
	img, err := e.PullImage(ctx, name, api.PullOptions{Platform: platform}, p.show)
	p.end()
	return img, err
}

// withoutImage refuses flags that say something of an image.
func (s *specFlags) withoutImage() error {
	for _, flag := range []string{"pull", "platform", "publish-all"} {
		if s.flags.Changed(flag) {
			return fmt.Errorf("--%s: with --rootfs there is no image", flag)
		}
	}
	return nil
}

func rmiCommand(a *App, f *pflag.FlagSet) action {
	var opt api.RemoveImageOptions
	f.BoolVarP(&opt.Force, "force", "f", false, "remove all names of an image named by its digest")
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) {
			removed, err := e.RemoveImage(ctx, name, opt)
			var lines []string
			for _, r := range removed {
				if strings.HasPrefix(r, "sha256:") || strings.HasPrefix(r, "sha512:") {
					lines = append(lines, "Deleted: "+r)
				} else {
					lines = append(lines, "Untagged: "+familiar(r))
				}
			}
			return strings.Join(lines, "\n"), err
		})
	}
}

func importCommand(a *App, f *pflag.FlagSet) action {
	var spec api.ImportSpec
	f.StringVar(&spec.Platform, "platform", "", "os/arch[/variant] of the programs in it; this host's when missing")
	f.StringVar(&spec.OSVersion, "os-version", "", "version of the system in it, as 14.3-RELEASE")
	lines := f.StringArrayP("change", "c", nil, "set "+changeWords+", as a line of a Containerfile")
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		if err := changes(&spec.ConfigChange, *lines); err != nil {
			return err
		}
		spec.Name, spec.Archive = args[1], a.Stdin
		if args[0] != "-" {
			if spec.Archive, err = os.Open(args[0]); err != nil {
				return err
			}
			defer spec.Archive.Close()
		}
		img, err := e.ImportImage(ctx, spec)
		if err == nil {
			fmt.Fprintln(a.Stdout, img.ID)
		}
		return err
	}
}
