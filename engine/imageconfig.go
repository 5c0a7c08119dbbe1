package engine

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/engine/api"
)

// portRule is PORT[/PROTOCOL], or a range of ports.
var portRule = regexp.MustCompile(`^[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp|sctp))?$`)

// changed is a configuration with what is said laid over it.
func changed(c ispec.ImageConfig, by api.ConfigChange) (ispec.ImageConfig, error) {
	if by.Entrypoint != nil {
		c.Entrypoint, c.Cmd = by.Entrypoint, nil // as Docker: the command was the old entry point's
	}
	if by.Cmd != nil {
		c.Cmd = by.Cmd
	}
	c.Env = overlaid(c.Env, by.Env)
	if by.WorkDir != "" {
		c.WorkingDir = by.WorkDir
		if !path.IsAbs(by.WorkDir) {
			return c, fmt.Errorf("working directory %q: %w: it must be absolute", by.WorkDir, fs.ErrInvalid)
		}
	}
	if by.User != "" {
		c.User = by.User
	}
	if by.StopSignal != "" {
		if _, err := signalNumber(by.StopSignal); err != nil {
			return c, err
		}
		c.StopSignal = by.StopSignal
	}
	if len(by.Labels) > 0 {
		c.Labels = maps.Clone(c.Labels)
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		maps.Copy(c.Labels, by.Labels)
	}
	var err error
	if c.ExposedPorts, err = added(c.ExposedPorts, by.ExposedPorts, exposed); err != nil {
		return c, err
	}
	c.Volumes, err = added(c.Volumes, by.Volumes, declaredVolume)
	return c, err
}

// overlaid is an environment with variables laid over it.
func overlaid(env, over []string) []string {
	env = slices.Clone(env)
	for _, kv := range over {
		key, _, _ := strings.Cut(kv, "=")
		i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		if i >= 0 {
			env[i] = kv
		} else {
			env = append(env, kv)
		}
	}
	return env
}

// added is a set with more in it, each as clean makes it.
func added(set map[string]struct{}, more []string, clean func(string) (string, error)) (map[string]struct{}, error) {
	if len(more) == 0 {
		return set, nil
	}
	set = maps.Clone(set)
	if set == nil {
		set = map[string]struct{}{}
	}
	for _, m := range more {
		m, err := clean(m)
		if err != nil {
			return nil, err
		}
		set[m] = struct{}{}
	}
	return set, nil
}

func exposed(port string) (string, error) {
	if !portRule.MatchString(port) {
		return "", fmt.Errorf("exposed port %q: %w: expected PORT or PORT/PROTOCOL", port, fs.ErrInvalid)
	}
	if !strings.Contains(port, "/") {
		port += "/tcp"
	}
	return port, nil
}

func declaredVolume(dir string) (string, error) {
	if !path.IsAbs(dir) {
		return "", fmt.Errorf("volume %q: %w: it must be an absolute path", dir, fs.ErrInvalid)
	}
	return path.Clean(dir), nil
}
