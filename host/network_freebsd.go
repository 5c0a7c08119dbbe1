package host

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/joyboyid/xc/freebsd/netif"
)

// units are numbers for an interface that is to be made: the kernel names it by
// kind and number, and only then can it be renamed. They are made of the name that
// it is to have, so that one can be found that an engine has made and not renamed
// when it died. The kernel itself hands out the lowest number that is free.
func units(name string) []int {
	const first, count = 4096, 0x7fff - 4096 // if_clone.c: IF_MAXUNIT
	sum := sha256.Sum256([]byte(name))
	var list []int
	for i := range 4 {
		list = append(list, first+int(binary.BigEndian.Uint16(sum[2*i:]))%count)
	}
	return list
}

// makeInterface makes an interface of a kind with a number of its own, and
// returns it.
func makeInterface(stack *netif.Stack, kind, name string) (unit int, made string, err error) {
	for _, unit = range units(name) {
		made, err = stack.Create(fmt.Sprint(kind, unit))
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return unit, made, err
}

// unnamed finds the interfaces that makeInterface has made for a name and that
// nobody has touched since.
func unnamed(stack *netif.Stack, kind, suffix, name string) ([]string, error) {
	var list []string
	for _, unit := range units(name) {
		made := fmt.Sprint(kind, unit, suffix)
		groups, err := stack.Groups(made)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		i, err := stack.Interface(made)
		if err != nil {
			return nil, err
		}
		about, err := stack.Description(made)
		if err != nil {
			return nil, err
		}
		if slices.Contains(groups, kind) && !i.Up && len(i.Addrs) == 0 && about == "" {
			list = append(list, made)
		}
	}
	return list, nil
}

// isKind tells whether an interface was made as one of a kind.
func isKind(stack *netif.Stack, name, kind string) error {
	groups, err := stack.Groups(name)
	if err == nil && !slices.Contains(groups, kind) {
		err = fmt.Errorf("interface %s: %w: it is no %s", name, fs.ErrInvalid, kind)
	}
	return err
}

// remove removes an interface of ours; suffix ends the name that the kernel gave
// to it.
func (h *Host) remove(name, kind, suffix string) error {
	if !h.ourName(name) {
		return fmt.Errorf("remove interface %s: it is not ours", name)
	}
	var stack netif.Stack
	left, err := unnamed(&stack, kind, suffix, name)
	if err != nil {
		return err
	}
	switch err := isKind(&stack, name, kind); {
	case err == nil:
		left = append(left, name)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("remove interface: it is not ours: %w", err)
	}
	for _, name := range left {
		if err := stack.Destroy(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// CheckNetwork tells whether this host has what a network is to be made of.
func (h *Host) CheckNetwork(n Network) error {
	if err := checkTable(n); err != nil {
		return err
	}
	var stack netif.Stack
	if n.Alias != "" {
		if _, err := stack.Interface(n.Alias); err != nil {
			return fmt.Errorf("network %s: alias interface: %w", n.Name, err)
		}
	}
	switch {
	case n.Bridge == "" && n.Alias == "":
		return fmt.Errorf("network %s: %w: neither bridge nor alias interface", n.Name, fs.ErrInvalid)
	case n.Bridge != "" && !n.Own:
		if err := isKind(&stack, n.Bridge, "bridge"); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
	}
	return nil
}

// MakeNetwork makes what is ours of a network, unless it is there.
func (h *Host) MakeNetwork(n Network) error {
	if err := h.CheckNetwork(n); err != nil || !n.Own {
		return err
	}
	if !h.ourName(n.Bridge) {
		return fmt.Errorf("network %s: bridge %s: it is not ours", n.Name, n.Bridge)
	}
	if err := makeBridge(n); err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	return nil
}

func makeBridge(n Network) error {
	var stack netif.Stack
	err := isKind(&stack, n.Bridge, "bridge")
	if errors.Is(err, fs.ErrNotExist) {
		err = newBridge(&stack, n.Bridge)
	}
	if err == nil && n.MTU > 0 {
		err = stack.SetMTU(n.Bridge, n.MTU)
	}
	if err != nil {
		return err
	}
	for _, p := range n.Addrs {
		if p.Addr().Is6() {
			if err := stack.SkipDAD(n.Bridge); err != nil {
				return err
			}
		}
		if err := stack.AddAddr(n.Bridge, p); err != nil {
			return err
		}
	}
	return errors.Join(stack.Describe(n.Bridge, "xc network "+n.Name), stack.Up(n.Bridge))
}

// newBridge makes a bridge, or takes one that was left without its name.
func newBridge(stack *netif.Stack, name string) error {
	left, err := unnamed(stack, "bridge", "", name)
	if err != nil {
		return err
	}
	if len(left) == 0 {
		_, made, err := makeInterface(stack, "bridge", name)
		if err != nil {
			return err
		}
		left = []string{made}
	}
	if err := stack.SetMAC(left[0], MAC(name)); err != nil {
		return err
	}
	return stack.Rename(left[0], name)
}

// RemoveNetwork removes what is ours of a network, if it is there.
func (h *Host) RemoveNetwork(n Network) error {
	err := dropTable(n)
	if n.Own {
		err = errors.Join(err, h.remove(n.Bridge, "bridge", ""))
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	return nil
}

// SweepNetworks removes the bridges of ours but those in keep.
func (h *Host) SweepNetworks(keep map[string]bool) error {
	ours, err := h.ourInterfaces()
	for _, name := range ours {
		if isKind(&netif.Stack{}, name, "bridge") == nil && !keep[name] {
			err = errors.Join(err, h.remove(name, "bridge", ""))
		}
	}
	return err
}

// ourInterfaces are the names of those that carry our tag.
func (h *Host) ourInterfaces() (ours []string, err error) {
	var stack netif.Stack
	list, err := stack.Interfaces()
	for _, i := range list {
		if h.ourName(i.Name) {
			ours = append(ours, i.Name)
		}
	}
	return ours, err
}

// leftInterfaces finds interfaces that carry our tag.
func (h *Host) leftInterfaces(ids map[string]bool, add func(kind, name, id string)) error {
	ours, err := h.ourInterfaces()
	for _, name := range ours {
		add("interface", name, h.ownerOf(name, ids))
	}
	return err
}

// Addresses are those this host has, by interface.
func (h *Host) Addresses() (map[string][]netip.Prefix, error) {
	var stack netif.Stack
	list, err := stack.Interfaces()
	all := map[string][]netip.Prefix{}
	for _, i := range list {
		all[i.Name] = i.Addrs
	}
	return all, err
}
