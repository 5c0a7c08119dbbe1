package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/freebsd/devfs"
	"github.com/joyboyid/xc/jail"
	"github.com/joyboyid/xc/site"
)

// jailOptions are what a user's parameters mean here.
type jailOptions struct {
	params  []jail.Param
	procfs  bool // mount.procfs of jail(8)
	ruleset int  // devfs_ruleset; 0: one of ours
}

// taken are the parameters that are said in another way, and how.
var taken = map[string]string{
	"name": "it is made of the container's id", "jid": "the kernel chooses it", "path": "it is where the root is mounted",
	"parent": "it is the jail of xcd", "dying": "it cannot be set", "children.cur": "it cannot be set", "cpuset.id": "it cannot be set",
	"persist": "the container's life is followed by its processes", "host.hostname": "use --hostname",
	"vnet": "use --network", "ip4": "use --network", "ip6": "use --network", "ip4.addr": "use --network", "ip6.addr": "use --network",
	"host": "use --hostname", "desc": "the engine keeps the jail",
}

// parseParams reads parameters as jail(8) takes them: those of the kernel, and
// mount.procfs.
func parseParams(list []string) (jailOptions, error) {
	var o jailOptions
	for _, text := range list {
		name, value, given := strings.Cut(text, "=")
		if why := taken[jail.Flag(name).About()]; why != "" {
			return o, fmt.Errorf("jail parameter %s: %w: %s", name, fs.ErrInvalid, why)
		}
		if name == "mount.procfs" || name == "mount.noprocfs" {
			on, err := strconv.ParseBool(value)
			if err != nil && given {
				return o, fmt.Errorf("jail parameter %s: %w: neither true nor false", text, fs.ErrInvalid)
			}
			o.procfs = name == "mount.procfs" && (on || !given)
			continue
		}
		p, err := jail.Parse(text)
		if err != nil {
			return o, err
		}
		if name == "devfs_ruleset" {
			if o.ruleset, err = strconv.Atoi(value); err != nil || o.ruleset < 0 || o.ruleset > 65535 {
				return o, fmt.Errorf("jail parameter %s: %w: not the number of a ruleset", text, fs.ErrInvalid)
			}
		}
		o.params = append(o.params, p)
	}
	return o, nil
}

// CheckJail tells what a container cannot be given: parameters for its jail,
// as jail(8) takes them, and datasets that it is to administer.
func (h *Host) CheckJail(ctx context.Context, params, datasets []string) error {
	if _, err := parseParams(params); err != nil {
		return err
	}
	for _, d := range datasets {
		if err := h.CheckDatasetMount(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// HiddenDevices tells which devices, globs of paths below /dev, the ruleset that
// parameters choose does not show.
func (h *Host) HiddenDevices(params, devices []string) (hidden []string, err error) {
	if len(devices) == 0 {
		return nil, nil
	}
	o, err := parseParams(params)
	if err != nil {
		return nil, err
	}
	rules := h.rulesets()[0].Rules()
	if o.ruleset > 0 {
		if rules, err = resolved(o.ruleset); err != nil {
			return nil, err
		}
	}
	for _, d := range devices {
		if !devfs.Shows(rules, d) {
			hidden = append(hidden, d)
		}
	}
	return hidden, nil
}

// resolved are the rules of a ruleset with those that it includes: one level of
// them, as the kernel does it.
func resolved(number int) ([]devfs.Rule, error) {
	own, err := devfs.Rules(uint16(number))
	if err != nil {
		return nil, err
	}
	var all []devfs.Rule
	for _, r := range own {
		if r.Include != 0 {
			included, err := devfs.Rules(r.Include)
			if err != nil {
				return nil, err
			}
			all = append(all, included...)
		}
		all = append(all, r)
	}
	return all, nil
}

// CheckDatasetMount tells why a dataset cannot be mounted into a container, nor
// lent to it: it is not there, or has what is the engine's.
func (h *Host) CheckDatasetMount(ctx context.Context, dataset string) error {
	for _, own := range []string{h.cfg.ImageDataset, h.cfg.ContainerDataset, h.cfg.VolumeDataset} {
		if own != "" && (within(dataset, own) || within(own, dataset)) {
			return fmt.Errorf("dataset %s: %w: the engine keeps its own in %s", dataset, fs.ErrInvalid, own)
		}
	}
	if _, err := h.zfs.Get(ctx, dataset); err != nil {
		return fmt.Errorf("dataset %s: %w", dataset, err)
	}
	return nil
}

// within tells whether a dataset is another one or below it.
func within(dataset, parent string) bool {
	return dataset == parent || strings.HasPrefix(dataset, parent+"/")
}

// datasetParams are what zfs(8) needs in a jail: zfs-jail(8).
func datasetParams(s Spec) []jail.Param {
	if len(s.Datasets) == 0 {
		return nil
	}
	return []jail.Param{jail.Int("enforce_statfs", 1), jail.Flag("allow.mount"), jail.Flag("allow.mount.zfs")}
}

// lentProperty names the jail that a dataset is lent to, so that another engine
// does not lend it as well: the kernel would let it.
const lentProperty = "xc:jail"

// lentToNobody is its value while it is not lent.
const lentToNobody = "-"

// datasetSteps lend datasets to the jail. A dataset must be marked as jailed
// for that (zfsprops(7)): the host does not mount it any more. It stays marked.
func (h *Host) datasetSteps(s Spec, name string) []site.Step {
	var steps []site.Step
	for _, d := range s.Datasets {
		steps = append(steps, step(kindDataset, thing{Name: name, Path: d}, func(ctx context.Context) error {
			return h.lendDataset(ctx, d, name)
		}))
	}
	return steps
}

// lendDataset lends a dataset to a jail, unless another jail has it, or has what
// it is in.
func (h *Host) lendDataset(ctx context.Context, dataset, name string) error {
	info, err := jail.Lookup(name)
	if err != nil {
		return err
	}
	props, err := h.zfs.Props(ctx, dataset, "jailed", lentProperty) // of a parent's, too: it is inherited
	if err != nil {
		return err
	}
	if other := props[lentProperty]; other != name && other != lentToNobody {
		if _, err := jail.Lookup(other); err == nil {
			return fmt.Errorf("dataset %s is lent to the jail %s: %w", dataset, other, syscall.EBUSY)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	set := map[string]string{lentProperty: name}
	if props["jailed"] != "on" {
		set["jailed"] = "on"
	}
	if err := h.zfs.Set(ctx, dataset, set); err != nil {
		return err
	}
	return h.zfs.Jail(ctx, int(info.ID), dataset)
}

// returnDataset takes a dataset back from a jail, which must be ours.
func (h *Host) returnDataset(ctx context.Context, t thing) error {
	if !strings.HasPrefix(t.Name, h.jailName("")) {
		return fmt.Errorf("take dataset %s from jail %s: it is not ours", t.Path, t.Name)
	}
	info, err := jail.Lookup(t.Name)
	if err == nil {
		err = h.zfs.Unjail(ctx, int(info.ID), t.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // what a jail that is gone had went with it
		return err
	}
	props, err := h.zfs.Props(ctx, t.Path, lentProperty)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the container has destroyed it
	}
	if err != nil || props[lentProperty] != t.Name {
		return err
	}
	return h.zfs.Set(ctx, t.Path, map[string]string{lentProperty: lentToNobody})
}
