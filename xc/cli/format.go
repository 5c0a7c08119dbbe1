package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/pflag"
)

// formatFlag binds --format.
func formatFlag(f *pflag.FlagSet) *string {
	return f.String("format", "", formatUse)
}

// inspectFormat binds --format of a command that inspects: -f is short for it there,
// as Docker has it.
func inspectFormat(f *pflag.FlagSet) *string {
	return f.StringP("format", "f", "", formatUse)
}

const formatUse = "print as json, or by this Go template"

// functions of templates, beside those of text/template.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	},
	"join":  strings.Join,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
}

func parseTemplate(text string) (*template.Template, error) {
	t, err := template.New("format").Funcs(functions).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	return t, nil
}

// printRows prints a list: a table by the standard template, JSON one object
// to a line, or whatever the format's template makes of each. A template that
// begins with the word "table" gets a header and columns. The header has the
// columns' titles in the fields of a row.
func printRows[T any](w io.Writer, format, standard string, header T, rows []T) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	if format == "" {
		format = standard
	}
	format, table := strings.CutPrefix(format, "table ")
	t, err := parseTemplate(unescape(format) + "\n")
	if err != nil {
		return err
	}
	if err := t.Execute(io.Discard, header); err != nil { // also where there are no rows
		return fmt.Errorf("--format: %w", err)
	}
	if table {
		rows = append([]T{header}, rows...)
	}
	columns := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	for _, r := range rows {
		if err := t.Execute(columns, r); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
	}
	return columns.Flush()
}

// unescape lets a shell write tabs and line ends in a template.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s) }

// printObject prints one object: as text, JSON, or by a template.
func printObject(w io.Writer, format string, v any, text func(io.Writer) error) error {
	switch format {
	case "":
		return text(w)
	case "json":
		return printJSON(w, v)
	}
	t, err := parseTemplate(unescape(format) + "\n")
	if err != nil {
		return err
	}
	if err := t.Execute(w, v); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	return nil
}

// tryFormat fails for a format that cannot print such an object: before something is
// done that is told of by it. Its lists have an element each, for templates that look at one.
func tryFormat(format string, like any) error {
	return printObject(io.Discard, format, like, func(io.Writer) error { return nil })
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(v)
}
