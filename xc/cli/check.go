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
them needs. Below are the commands that would provide what is missing. Nothing
is changed. The exit code is 125 when something is missing without which no
container runs.`

// checkRow is a check as a template sees it.
type checkRow struct {
	api.Check
	Need string `json:"-"` // "required" or "optional"
}

func checkCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.CheckSystem(ctx)
		if err != nil {
			return err
		}
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

// printFixes prints how to get what is missing.
func printFixes(w io.Writer, list []api.Check) {
	for _, c := range list {
		if c.State != api.CheckOK && c.Fix != "" {
			fmt.Fprintf(w, "\n%s %s (%s):\n    %s\n", c.Area, c.Name, c.Purpose, c.Fix)
		}
	}
}
