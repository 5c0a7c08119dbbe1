package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const tagLong = `If the name is another image's, that one loses it.`

func tagCommand(*App, *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		return e.TagImage(ctx, args[0], args[1])
	}
}

// historyRow is a line of xc history, named as Docker names it.
type historyRow struct {
	ID           string // of the layer: its diff id
	CreatedSince string
	CreatedAt    string
	CreatedBy    string
	Size         string
	Comment      string
}

const historyTable = `table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}`

var historyHeader = historyRow{
	ID: "LAYER", CreatedSince: "CREATED", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY", Size: "SIZE", Comment: "COMMENT",
}

// maxCreatedBy is how many characters of a step's command history shows.
const maxCreatedBy = 45

func historyCommand(a *App, f *pflag.FlagSet) action {
	quiet := f.BoolP("quiet", "q", false, "only the ids of the layers")
	whole := f.Bool("no-trunc", false, "do not shorten")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		steps, err := e.ImageHistory(ctx, args[0])
		if err != nil {
			return err
		}
		now, rows := time.Now(), []historyRow{}
		for _, s := range steps {
			rows = append(rows, newHistoryRow(s, now, *whole))
		}
		standard := historyTable
		if *quiet {
			standard = "{{.ID}}"
		}
		return printRows(a.Stdout, *format, standard, historyHeader, rows)
	}
}

func newHistoryRow(s api.ImageStep, now time.Time, whole bool) historyRow {
	r := historyRow{
		ID: "<none>", CreatedSince: "N/A", CreatedAt: "N/A", Size: size(s.Size), Comment: s.Comment,
		CreatedBy: strings.Join(strings.Fields(s.CreatedBy), " "), // it may have lines
	}
	if s.Layer != "" {
		r.ID = shortID(s.Layer, whole)
	}
	if by := []rune(r.CreatedBy); !whole && len(by) > maxCreatedBy {
		r.CreatedBy = string(by[:maxCreatedBy-1]) + "…"
	}
	if !s.Created.IsZero() {
		r.CreatedSince = ago(now.Sub(s.Created))
		r.CreatedAt = s.Created.Local().Format(time.RFC3339)
	}
	return r
}

func imageInspectCommand(a *App, f *pflag.FlagSet) action {
	format := inspectFormat(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return a.inspectAll(*format, args, func(name string) (any, error) { return e.InspectImage(ctx, name) })
	}
}

const pruneLong = `Blobs and unpacked layers that belong to no image and no container, and what was
downloaded in part. With --all, images of which there is no container, too.`

func imagePruneCommand(a *App, f *pflag.FlagSet) action {
	var opt api.PruneImagesOptions
	f.BoolVarP(&opt.All, "all", "a", false, "images of which there is no container, too")
	force := forceFlag(f)
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		if err := tryFormat(*format, somePruned.Images); err != nil {
			return err
		}
		if err := a.sure(*force, unusedImages(opt.All)); err != nil {
			return err
		}
		pruned, err := e.PruneImages(ctx, opt)
		if err != nil {
			return err
		}
		return printObject(a.Stdout, *format, pruned, func(w io.Writer) error {
			showPrunedImages(w, pruned)
			return showReclaimed(w, pruned.Bytes)
		})
	}
}

// unusedImages are what a prune takes.
func unusedImages(all bool) string {
	if all {
		return "all images of which there is no container"
	}
	return "what no image and no container needs"
}

func showPrunedImages(w io.Writer, pruned api.PrunedImages) {
	for _, n := range pruned.Names {
		fmt.Fprintln(w, "Untagged: "+familiar(n))
	}
	for _, d := range append(pruned.Blobs, pruned.Roots...) {
		fmt.Fprintln(w, "Deleted: "+d)
	}
}

// showReclaimed is the last line of a prune.
func showReclaimed(w io.Writer, bytes int64) error {
	_, err := fmt.Fprintf(w, "Total reclaimed space: %s\n", size(bytes))
	return err
}

// forceFlag binds --force of a command that asks before it removes.
func forceFlag(f *pflag.FlagSet) *bool { return f.BoolP("force", "f", false, "do not ask") }

var errNotSure = errors.New("nothing was removed: not confirmed (use --force)")

// sure asks whether to remove something, unless that was said, and fails for any
// answer but yes.
func (a *App) sure(force bool, what string) error {
	if force {
		return nil
	}
	if _, err := fmt.Fprint(a.Stderr, "This removes "+what+". Go on? [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(a.Stdin, 1<<10)).ReadString('\n')
	if err == io.EOF { // nobody has ended the line
		_, err = fmt.Fprintln(a.Stderr)
	}
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errNotSure
}

// usageRow is a line of xc system df, named as Docker names it.
type usageRow struct {
	Type        string
	TotalCount  string
	Active      string
	Size        string
	Reclaimable string
}

const usageTable = `table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`

var usageHeader = usageRow{Type: "TYPE", TotalCount: "TOTAL", Active: "ACTIVE", Size: "SIZE", Reclaimable: "RECLAIMABLE"}

// usageNames are the kinds of api.DiskUsage as they are shown.
var usageNames = map[string]string{
	api.UsageImages: "Images", api.UsageLayers: "Unpacked layers", api.UsageContainers: "Containers", api.UsageVolumes: "Volumes",
}

func dfCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.DiskUsage(ctx)
		if err != nil {
			return err
		}
		rows := []usageRow{}
		for _, u := range list {
			r := usageRow{u.Kind, fmt.Sprint(u.Total), fmt.Sprint(u.Active), size(u.Size), size(u.Reclaimable)}
			if name, ok := usageNames[u.Kind]; ok {
				r.Type = name
			}
			if u.Size > 0 {
				r.Reclaimable += fmt.Sprintf(" (%d%%)", u.Reclaimable*100/u.Size)
			}
			rows = append(rows, r)
		}
		return printRows(a.Stdout, *format, usageTable, usageHeader, rows)
	}
}
