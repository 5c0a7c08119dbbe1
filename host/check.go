package host

import (
	"context"
	"strings"
)

// Check is one thing this host needs for containers, or for something one can
// do with them, and whether it is there. To look at it changes nothing.
type Check struct {
	Area     string // "kernel", "module", "sysctl", "dataset", "pf", "cgroup", …
	Name     string // as the system itself calls it
	State    string // ok, missing or unknown
	Required bool   // no container runs without it
	Purpose  string // what it is for
	Detail   string // what was found
	Fix      string // the command that would provide it
}

// States of a [Check].
const (
	ok      = "ok"
	missing = "missing"
	unknown = "unknown"
)

// need is a row of a system's table: what is needed, and how to look.
type need struct {
	area, name, purpose, fix string
	required                 bool
	// look tells whether it is there and what was found. With an error it is not
	// known.
	look func(ctx context.Context) (there bool, detail string, err error)
}

// check looks at everything in a table.
func check(ctx context.Context, needs []need) []Check {
	list := make([]Check, len(needs))
	for i, n := range needs {
		c := Check{Area: n.area, Name: n.name, Required: n.required, Purpose: n.purpose, State: ok}
		there, detail, err := n.look(ctx)
		c.Detail = detail
		switch {
		case err != nil:
			c.State, c.Detail, c.Fix = unknown, oneLine(err.Error()), n.fix
		case !there:
			c.State, c.Fix = missing, n.fix
		}
		list[i] = c
	}
	return list
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// names tells whether a list, one path to a line, has a kernel module in it:
// modules.builtin and modules.dep of modules.dep(5).
func names(list, module string) bool {
	for line := range strings.Lines(list) {
		path, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		base := path[strings.LastIndexByte(path, '/')+1:]
		base, _, found := strings.Cut(base, ".ko")
		if found && strings.ReplaceAll(base, "-", "_") == module {
			return true
		}
	}
	return false
}
