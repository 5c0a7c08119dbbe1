package zfs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Props are properties by name, as zfs(8) takes them and zfs get -p prints them.
type Props map[string]string

// assignments returns "name=value" for each, in order.
func (p Props) assignments() []string {
	var a []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		a = append(a, name+"="+p[name])
	}
	return a
}

// options returns "-o name=value" for each, in order.
func (p Props) options() []string {
	var o []string
	for _, a := range p.assignments() {
		o = append(o, "-o", a)
	}
	return o
}

// Values of properties that have names (module/zcommon/zfs_prop.c).
var (
	onOff    = map[string]uint64{"off": 0, "on": 1}
	canMount = map[string]uint64{"off": 0, "on": 1, "noauto": 2}
)

// encode makes the list that the ioctls take. ok is false if one of them is not
// known well enough here.
func (p Props) encode() (l list, ok bool) {
	l = list{}
	for name, v := range p {
		var n uint64
		known := false
		switch name {
		case "mountpoint":
			l[name] = v
			continue
		case "canmount":
			n, known = canMount[v]
		case "readonly", "atime", "exec", "setuid", "jailed":
			n, known = onOff[v]
		case "quota", "refquota", "reservation", "refreservation", "recordsize":
			var err error
			n, err = strconv.ParseUint(v, 10, 64) // bytes
			known = err == nil
		default:
			if strings.Contains(name, ":") { // a user property
				l[name] = v
				continue
			}
		}
		if !known {
			return nil, false
		}
		l[name] = n
	}
	return l, true
}

// parseProps reads what zfs get -Hp -o property,value prints.
func parseProps(out []byte) (Props, error) {
	p := Props{}
	for line := range strings.Lines(string(out)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || name == "" {
			return nil, fmt.Errorf("zfs get: line %q has no value", line)
		}
		p[name] = value
	}
	return p, nil
}
