package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/joyboyid/xc/site/control"
)

// CheckUlimits tells which limits cannot be set for a process here, before one
// is started: a name that this system does not have, a limit above what may be
// given. It matches fs.ErrInvalid or fs.ErrPermission.
func CheckUlimits(list []control.Ulimit) error {
	seen := map[string]bool{}
	for _, u := range list {
		if err := checkUlimit(u); err != nil {
			return fmt.Errorf("ulimit %s: %w", u.Name, err)
		}
		if seen[u.Name] {
			return fmt.Errorf("ulimit %s: %w: it is given twice", u.Name, fs.ErrInvalid)
		}
		seen[u.Name] = true
	}
	return nil
}

func checkUlimit(u control.Ulimit) error {
	names := resources()
	resource, ok := names[u.Name]
	switch {
	case !ok:
		return fmt.Errorf("%w: the limits of this system are %s", fs.ErrInvalid, strings.Join(slices.Sorted(maps.Keys(names)), " "))
	case u.Soft < noLimit || u.Hard < noLimit:
		return fmt.Errorf("%w: a limit is a number, or -1 for none", fs.ErrInvalid)
	case above(u.Soft, u.Hard):
		return fmt.Errorf("%w: the soft limit %s is above the hard limit %s", fs.ErrInvalid, amount(u.Soft), amount(u.Hard))
	}
	most, name, err := ceiling(u, resource)
	if err != nil {
		return err
	}
	if above(u.Hard, most) {
		return fmt.Errorf("%w: %s is above %s, which is %s: raise that first", fs.ErrPermission, amount(u.Hard), name, amount(most))
	}
	return nil
}

// noLimit is RLIM_INFINITY in a control.Ulimit.
const noLimit = -1

// above tells whether a limit allows more than another.
func above(a, b int64) bool { return b != noLimit && (a == noLimit || a > b) }

func amount(n int64) string {
	if n == noLimit {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// errUlimit is that a limit came here unchecked.
var errUlimit = errors.New("no such limit")
