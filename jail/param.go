package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Values of the parameters that say whose a facility is: host, ip4, ip6, vnet,
// sysvmsg, sysvsem, sysvshm, linux.
const (
	Disable = 0 // none
	New     = 1 // one of its own
	Inherit = 2 // that of the parent
)

// Param is a parameter with a value. The zero Param is refused.
type Param struct {
	name  string
	value []byte // nil for a flag
	err   error  // why it cannot be encoded
}

// String sets a parameter to a text.
func String(name, v string) Param {
	if strings.ContainsRune(v, 0) {
		return Param{name: name, err: errors.New("has a NUL byte")}
	}
	return Param{name: name, value: append([]byte(v), 0)}
}

// Int sets a parameter to a number, such as [New].
func Int(name string, v int32) Param {
	return Param{name: name, value: binary.NativeEndian.AppendUint32(nil, uint32(v))}
}

// Flag sets a parameter that has no value, such as "persist" or its opposite
// "nopersist".
func Flag(name string) Param { return Param{name: name} }

// Bool sets a flag or its opposite, whose last part begins with "no":
// Bool("allow.raw_sockets", false) is "allow.noraw_sockets".
func Bool(name string, v bool) Param {
	if v {
		return Flag(name)
	}
	dot := strings.LastIndexByte(name, '.') + 1
	return Flag(name[:dot] + "no" + name[dot:])
}

// Addrs sets "ip4.addr" or "ip6.addr". All addresses must be of that family.
func Addrs(name string, addrs ...netip.Addr) Param {
	p := Param{name: name, value: []byte{}}
	for _, a := range addrs {
		switch {
		case a.Zone() != "":
			p.err = fmt.Errorf("address %s has a zone", a)
		case name == "ip4.addr" && a.Is4(), name == "ip6.addr" && a.Is6() && !a.Is4In6():
			p.value = append(p.value, a.AsSlice()...)
		default:
			p.err = fmt.Errorf("address %s does not belong there", a)
		}
	}
	return p
}

// String shows the parameter as jail(8) would take it.
func (p Param) String() string {
	switch {
	case p.err != nil:
		return p.name + "=(" + p.err.Error() + ")"
	case p.value == nil:
		return p.name
	case strings.HasSuffix(p.name, ".addr"):
		addrs, err := Values{p.name: p.value}.Addrs(p.name)
		if err == nil {
			return p.name + "=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(addrs), " ", ","), "[]")
		}
	case len(p.value) > 0 && p.value[len(p.value)-1] == 0 && (len(p.value) != 4 || !strings.ContainsRune(string(p.value[:3]), 0)):
		return p.name + "=" + string(p.value[:len(p.value)-1])
	case len(p.value) == 4:
		return p.name + "=" + strconv.Itoa(int(int32(binary.NativeEndian.Uint32(p.value))))
	}
	return fmt.Sprintf("%s=%q", p.name, p.value)
}

// check refuses what no kernel would understand.
func check(op string, params []Param) error {
	for _, p := range params {
		err := p.err
		if p.name == "" || strings.ContainsRune(p.name, 0) {
			err = errors.New("not a parameter name")
		}
		if err != nil {
			return &Error{Op: op, Jail: subject(params), Errno: syscall.EINVAL, Msg: fmt.Sprintf("parameter %q: %v", p.name, err)}
		}
	}
	return nil
}

// subject returns the name or number that params are about.
func subject(params []Param) string {
	s := ""
	for _, p := range params {
		switch {
		case p.err != nil || len(p.value) == 0:
		case p.name == "name":
			return string(p.value[:len(p.value)-1])
		case p.name == "jid" && len(p.value) == 4:
			s = strconv.Itoa(int(int32(binary.NativeEndian.Uint32(p.value))))
		}
	}
	return s
}

// Values are parameters that were read, as the kernel gave them.
type Values map[string][]byte

func (v Values) raw(name string) ([]byte, error) {
	b, ok := v[name]
	if !ok {
		return nil, fmt.Errorf("jail parameter %s was not read", name)
	}
	return b, nil
}

// String returns a text.
func (v Values) String(name string) (string, error) {
	b, err := v.raw(name)
	if err != nil {
		return "", err
	}
	s, _, ok := strings.Cut(string(b), "\x00")
	if !ok {
		return "", fmt.Errorf("jail parameter %s is no text: %q", name, b)
	}
	return s, nil
}

// Int returns a number. host.hostid is a long and fits as well.
func (v Values) Int(name string) (int64, error) {
	b, err := v.raw(name)
	switch {
	case err != nil:
		return 0, err
	case len(b) == 4:
		return int64(int32(binary.NativeEndian.Uint32(b))), nil
	case len(b) == 8:
		return int64(binary.NativeEndian.Uint64(b)), nil
	}
	return 0, fmt.Errorf("jail parameter %s is no number: %q", name, b)
}

// Bool returns whether a flag is set.
func (v Values) Bool(name string) (bool, error) {
	n, err := v.Int(name)
	return n != 0, err
}

// Addrs returns the addresses of ip4.addr or ip6.addr.
func (v Values) Addrs(name string) ([]netip.Addr, error) {
	b, err := v.raw(name)
	if err != nil {
		return nil, err
	}
	size := 16
	if strings.HasPrefix(name, "ip4.") {
		size = 4
	}
	if len(b)%size != 0 {
		return nil, fmt.Errorf("jail parameter %s is no list of addresses: %q", name, b)
	}
	var addrs []netip.Addr
	for ; len(b) > 0; b = b[size:] {
		a, _ := netip.AddrFromSlice(b[:size])
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// info collects what Info is made of.
func (v Values) info() (Info, error) {
	var errs [9]error
	var id, parent, vnet int64
	var info Info
	var four, six []netip.Addr
	id, errs[0] = v.Int("jid")
	parent, errs[1] = v.Int("parent")
	vnet, errs[2] = v.Int("vnet")
	info.Dying, errs[3] = v.Bool("dying")
	info.Name, errs[4] = v.String("name")
	info.Path, errs[5] = v.String("path")
	info.Hostname, errs[6] = v.String("host.hostname")
	four, errs[7] = v.Addrs("ip4.addr")
	six, errs[8] = v.Addrs("ip6.addr")
	info.ID, info.Parent, info.VNET = ID(id), ID(parent), vnet == New
	info.Addrs = append(four, six...)
	return info, errors.Join(errs[:]...)
}
