package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
)

// extension applies what an image says beyond OCI's words, or refuses to. What
// narrows a container's rights is applied; what widens them has to be granted
// by who makes the container, in so many words.
func (e *Engine) extension(p *plan, img api.Image) error {
	x, err := image.ParseExtension(img.Labels)
	if err != nil || x == nil {
		return err
	}
	if err := p.imageMounts(x.Mounts); err != nil {
		return err
	}
	if missing := x.Missing(p.Env); len(missing) > 0 {
		var names []string
		for _, v := range missing {
			if v.Description != "" {
				v.Name += " (" + v.Description + ")"
			}
			names = append(names, v.Name)
		}
		return fmt.Errorf("the image needs variables that are not set: %w: %s; give them with --env", fs.ErrInvalid, strings.Join(names, ", "))
	}
	p.imageCommands(x)
	if x.VNET && asksHost(p.Spec) {
		return fmt.Errorf("the image needs a network stack of its own: %w with the network %s", fs.ErrInvalid, api.NetworkHost)
	}
	p.Spec.VNET = p.Spec.VNET || x.VNET
	if e.host.NativeOS() != "freebsd" {
		if needsJail(x) {
			return fmt.Errorf("the image needs a jail of FreeBSD: %w", errors.ErrUnsupported)
		}
		return nil // an IPC name space is new anyway, /proc and /dev/fd are there
	}
	lacking := lacking(p, x)
	hidden, err := e.host.HiddenDevices(p.Spec.Params, x.Devices)
	if err != nil {
		return err
	}
	if len(hidden) > 0 {
		lacking = append(lacking, "-o devfs_ruleset=NUMBER, of a ruleset that shows "+strings.Join(hidden, " "))
	}
	if len(lacking) > 0 {
		return fmt.Errorf("the image asks for more than containers get: %w: grant it with %s", fs.ErrPermission, strings.Join(lacking, " "))
	}
	p.Spec.Params = narrowed(p.Spec.Params, x)
	return nil
}

// needsJail tells whether an image asks for what only a jail has.
func needsJail(x *image.Extension) bool {
	return len(x.Allow) > 0 || len(x.Devices) > 0 || x.SecureLevel != nil || x.Datasets > 0 || x.SysVIPC == image.SysVInherit
}

// lacking are the flags that would grant what an image asks for.
func lacking(p *plan, x *image.Extension) []string {
	var flags []string
	for _, name := range x.Allow {
		if v, ok := param(p.Spec.Params, "allow."+name); !ok || isFalse(v) {
			flags = append(flags, "-o allow."+name)
		}
	}
	if x.SysVIPC == image.SysVInherit {
		for _, name := range sysv {
			if v, _ := param(p.Spec.Params, name); v != image.SysVInherit {
				flags = append(flags, "-o "+name+"="+image.SysVInherit)
			}
		}
	}
	if x.SecureLevel != nil && *x.SecureLevel < 0 {
		if v, _ := param(p.Spec.Params, "securelevel"); v != strconv.Itoa(*x.SecureLevel) {
			flags = append(flags, "-o securelevel="+strconv.Itoa(*x.SecureLevel))
		}
	}
	for i := len(p.Spec.Datasets); i < x.Datasets; i++ {
		flags = append(flags, "--dataset DATASET")
	}
	return flags
}

// sysv are the parameters of the three kinds of System V IPC (jail(8)).
var sysv = []string{"sysvmsg", "sysvsem", "sysvshm"}

// narrowed are parameters with those that an image sets by itself, where the
// user has not.
func narrowed(params []string, x *image.Extension) []string {
	params = append([]string{}, params...)
	set := func(name, value string) {
		if _, given := param(params, name); !given {
			params = append(params, name+"="+value)
		}
	}
	if x.SecureLevel != nil && *x.SecureLevel >= 0 {
		set("securelevel", strconv.Itoa(*x.SecureLevel))
	}
	if x.SysVIPC == image.SysVNew {
		for _, name := range sysv {
			set(name, image.SysVNew)
		}
	}
	if _, refused := param(params, "mount.noprocfs"); slices.Contains(x.SpecialMounts, image.Procfs) && !refused {
		set("mount.procfs", "true") // fdescfs is there anyway
	}
	return params
}

// param finds a parameter among NAME=VALUE and NAME.
func param(params []string, name string) (value string, ok bool) {
	for _, p := range params {
		if n, v, _ := strings.Cut(p, "="); n == name {
			value, ok = v, true // what comes later holds
		}
	}
	return value, ok
}

func isFalse(v string) bool {
	on, err := strconv.ParseBool(v)
	return v != "" && err == nil && !on
}

// imageMounts applies the mounts that an image asks for: who gives one may say its
// name, its flags hold for what was given, and one that was not given is made.
func (p *plan) imageMounts(asked []image.ExtensionMount) error {
	var missing []string
	for _, a := range asked {
		given := false
		for i := range p.Spec.Mounts {
			m := &p.Spec.Mounts[i]
			if m.Destination == a.Name {
				m.Destination = a.Destination
			}
			if path.Clean(m.Destination) == a.Destination {
				given = true
				restrict(m, a)
			}
		}
		switch {
		case given:
		case a.Required:
			flag := "-v NAME:" + a.Name
			if a.Description != "" {
				flag += " (" + a.Description + ")"
			}
			missing = append(missing, flag)
		default:
			m := api.Mount{Type: api.MountVolume, Destination: a.Destination}
			if a.Type == image.MountTmpfs {
				m.Type, m.Size = api.MountTmpfs, a.Size
			}
			restrict(&m, a)
			p.Spec.Mounts = append(p.Spec.Mounts, m)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the image needs mounts that are not given: %w: %s", fs.ErrInvalid, strings.Join(missing, ", "))
	}
	return nil
}

func restrict(m *api.Mount, a image.ExtensionMount) {
	m.ReadOnly, m.NoSUID, m.NoExec = m.ReadOnly || a.ReadOnly, m.NoSUID || a.NoSUID, m.NoExec || a.NoExec
}
