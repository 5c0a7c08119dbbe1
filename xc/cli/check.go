package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const checkLong = `Each line is one thing that containers need, or that something one can do with
them needs. Below are the commands that would provide what is missing. Then every
blob of the images is read and verified, and every image looked at whether it has its
layers; those in directories are held against their blobs, file by file, which takes
as long as to unpack them. Nothing is changed, but with --repair, which fetches and
unpacks again what is damaged or missing of images; what cannot be fetched stays as it
is. The exit code is 125 when something is missing without which no container runs, or
an image is not whole.`

// checkRow is a check as a template sees it.
type checkRow struct {
	api.Check
	Need string `json:"-"` // "required" or "optional"
}

func checkCommand(a *App, f *pflag.FlagSet) action {
	var opt api.CheckImagesOptions
	f.BoolVar(&opt.Repair, "repair", false, "fetch again what is damaged or missing of images")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.CheckSystem(ctx)
		if err != nil {
			return err
		}
		images, err := e.CheckImages(ctx, opt)
		if err != nil {
			return err
		}
		list = append(list, imageChecks(images)...)
		rows := make([]checkRow, len(list))
		var lacking []string
		for i, c := range list {
			rows[i] = checkRow{c, "optional"}
			if c.Required {
				rows[i].Need = "required"
			}
			if c.Required && c.State == api.CheckMissing {
				lacking = append(lacking, c.Name)
			}
		}
		const standard = `table {{.State}}\t{{.Need}}\t{{.Area}}\t{{.Name}}\t{{.Purpose}}{{with .Detail}} ({{.}}){{end}}`
		header := checkRow{api.Check{State: "STATE", Area: "AREA", Name: "NAME", Purpose: "FOR", Fix: "FIX"}, "NEED"}
		if err := printRows(a.Stdout, *format, standard, header, rows); err != nil {
			return err
		}
		if *format == "" {
			printFixes(a.Stdout, list)
		}
		if len(lacking) > 0 {
			return fmt.Errorf("containers need what is missing here: %s", strings.Join(lacking, ", "))
		}
		return nil
	}
}

// imageChecks are the problems of images as checks, or that there are none.
func imageChecks(c api.ImageCheck) []api.Check {
	var list []api.Check
	for _, p := range c.Repaired {
		list = append(list, api.Check{Area: "images", Name: p.Object, State: api.CheckOK, Purpose: "images", Detail: "repaired: " + p.Problem})
	}
	for _, p := range c.Problems {
		list = append(list, api.Check{
			Area: "images", Name: p.Object, State: api.CheckMissing, Required: true, Purpose: "images", Detail: p.Problem,
			Fix: "xc system check --repair, where the registry that has the image can be reached; else xc load of a good archive of it, and then that",
		})
	}
	if len(c.Problems) == 0 {
		list = append(list, api.Check{
			Area: "images", Name: "store", State: api.CheckOK, Required: true, Purpose: "images",
			Detail: fmt.Sprintf("%d names, %d blobs verified", c.Images, c.Blobs),
		})
	}
	return list
}

// printFixes prints how to get what is missing.
func printFixes(w io.Writer, list []api.Check) {
	for _, c := range list {
		if c.State != api.CheckOK && c.Fix != "" {
			fmt.Fprintf(w, "\n%s %s (%s):\n    %s\n", c.Area, c.Name, c.Purpose, c.Fix)
		}
	}
}
