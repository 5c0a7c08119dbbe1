package tenant

import (
	"errors"
	"fmt"
	"strings"
)

// check says what is wrong with a configuration for Linux.
func (c *Config) check() error {
	switch c.Root.Kind {
	case Overlay:
		if len(c.Root.Lower) == 0 {
			return errors.New("an overlay root needs lower directories")
		}
		if (c.Root.Upper == "") != (c.Root.Work == "") {
			return errors.New("an overlay root has upper and work directory, or neither")
		}
	case Bind:
		if c.Root.Dir == "" {
			return errors.New("a bind root needs a directory")
		}
	default:
		return fmt.Errorf("unknown kind of root %q: it is %q or %q", c.Root.Kind, Overlay, Bind)
	}
	if c.Network != "none" && c.Network != "host" {
		return fmt.Errorf("unknown network %q: it is %q or %q", c.Network, "none", "host")
	}
	if c.Network == "host" && len(c.Interfaces) > 0 {
		return errors.New("the host's network is given no interfaces")
	}
	if c.Jail != 0 || c.Path != "" {
		return errors.New("jail and path are of FreeBSD")
	}
	if c.Limited != "" && c.Cgroup == "" {
		return errors.New("a limited cgroup needs one beside it for pid 1")
	}
	if c.Filtered && c.Cgroup == "" {
		return errors.New("without a cgroup there is nothing to filter for")
	}
	for _, m := range c.Mounts {
		if !strings.HasPrefix(m.Destination, "/") || strings.Trim(m.Destination, "/") == "" {
			return fmt.Errorf("mount on %q: not an absolute path below /", m.Destination)
		}
		if m.FD == 0 && m.Source == "" && m.Tmpfs == nil {
			return fmt.Errorf("mount on %s: neither descriptor nor source", m.Destination)
		}
	}
	return nil
}
