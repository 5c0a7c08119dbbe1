package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// kind is how the values of a parameter are written: sysctl(3) tells, by the
// type and format of security.jail.param.NAME.
type kind int

const (
	kindFlag   kind = iota + 1 // no value
	kindNumber                 // int
	kindLong                   // long
	kindText
	kindMode  // disable, new or inherit
	kindAddr4 // list of addresses
	kindAddr6
)

// CTLTYPE and formats of sysctl(3): sys/sys/sysctl.h.
const (
	ctlTypeMask   = 0xf
	ctlTypeInt    = 2
	ctlTypeString = 3
	ctlTypeStruct = 5
	ctlTypeUint   = 6
	ctlTypeLong   = 7
	ctlTypeUlong  = 8
)

// kindOfSysctl reads what sysctl {0, 4} says of a variable: its type, and a
// format (libjail does so as well: lib/libjail/jail.c, jailparam_type).
func kindOfSysctl(info []byte) (kind, error) {
	if len(info) < 5 {
		return 0, fmt.Errorf("type of %d bytes", len(info))
	}
	format, _, _ := strings.Cut(string(info[4:]), "\x00")
	switch t := binary.NativeEndian.Uint32(info) & ctlTypeMask; {
	case format == "B" || format == "C":
		return kindFlag, nil
	case format == "E,jailsys":
		return kindMode, nil
	case t == ctlTypeInt || t == ctlTypeUint:
		return kindNumber, nil
	case t == ctlTypeLong || t == ctlTypeUlong:
		return kindLong, nil
	case t == ctlTypeString:
		return kindText, nil
	case t == ctlTypeStruct && strings.HasPrefix(format, "S,in_addr"):
		return kindAddr4, nil
	case t == ctlTypeStruct && strings.HasPrefix(format, "S,in6_addr"):
		return kindAddr6, nil
	default:
		return 0, fmt.Errorf("type %d, format %q: not known here", t, format)
	}
}

// Parse makes a parameter of the words of jail(8): NAME=VALUE, or NAME alone for
// one that can be on or off, whose last part begins with "no" to switch it off.
// The kernel knows which parameters there are and how their values are written;
// one it does not know is fs.ErrNotExist. Those that only jail(8) knows (exec.*,
// mount.*, interface) are not among them.
func Parse(text string) (Param, error) {
	name, value, given := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	k, err := kindOf(name)
	if errors.Is(err, fs.ErrNotExist) {
		if positive, ok := withoutNo(name); ok && !given {
			if k, err = kindOf(positive); err == nil && k == kindFlag {
				return Bool(positive, false), nil
			}
		}
		return Param{}, fmt.Errorf("jail parameter %s: %w: the kernel does not know it", name, fs.ErrNotExist)
	}
	if err != nil {
		return Param{}, fmt.Errorf("jail parameter %s: %w", name, err)
	}
	p := encode(name, k, value, given)
	if p.err != nil {
		return Param{}, fmt.Errorf("jail parameter %s: %w: %w", text, p.err, fs.ErrInvalid)
	}
	return p, nil
}

// Name is the parameter's name.
func (p Param) Name() string { return p.name }

// About names what the parameter is about: for a flag and for its opposite it is
// the same.
func (p Param) About() string {
	if positive, ok := withoutNo(p.name); ok && p.value == nil {
		return positive
	}
	return p.name
}

// Merge lays parameters over others: of those that are about the same the last
// one holds.
func Merge(base []Param, over ...Param) []Param {
	var out []Param
	at := map[string]int{}
	for _, p := range append(append([]Param{}, base...), over...) {
		if i, ok := at[p.About()]; ok {
			out[i] = p
			continue
		}
		at[p.About()] = len(out)
		out = append(out, p)
	}
	return out
}

// withoutNo turns allow.noraw_sockets into allow.raw_sockets.
func withoutNo(name string) (string, bool) {
	dot := strings.LastIndexByte(name, '.') + 1
	rest, ok := strings.CutPrefix(name[dot:], "no")
	return name[:dot] + rest, ok && rest != ""
}

// encode writes a value as the kernel takes it.
func encode(name string, k kind, value string, given bool) Param {
	if !given && k != kindFlag && k != kindMode {
		return Param{name: name, err: errors.New("it needs a value")}
	}
	switch k {
	case kindFlag:
		return encodeFlag(name, value, given)
	case kindMode:
		return encodeMode(name, value, given)
	case kindNumber:
		n, err := strconv.ParseInt(value, 0, 32)
		if err != nil {
			return Param{name: name, err: errors.New("not a number")}
		}
		return Int(name, int32(n))
	case kindLong:
		n, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			return Param{name: name, err: errors.New("not a number")}
		}
		return Param{name: name, value: binary.NativeEndian.AppendUint64(nil, n)}
	case kindText:
		return String(name, value)
	}
	var addrs []netip.Addr
	for s := range strings.SplitSeq(value, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return Param{name: name, err: err}
		}
		addrs = append(addrs, a)
	}
	return Addrs(name, addrs...)
}

func encodeFlag(name, value string, given bool) Param {
	on, err := strconv.ParseBool(value)
	if !given {
		on, err = true, nil
	}
	if err != nil {
		return Param{name: name, err: errors.New("neither true nor false")}
	}
	return Bool(name, on)
}

func encodeMode(name, value string, given bool) Param {
	if !given {
		return Int(name, New)
	}
	for n, word := range []string{"disable", "new", "inherit"} {
		if value == word || value == strconv.Itoa(n) {
			return Int(name, int32(n))
		}
	}
	return Param{name: name, err: errors.New("not disable, new or inherit")}
}
