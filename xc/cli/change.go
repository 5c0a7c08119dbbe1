package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/joyboyid/xc/engine/api"
)

// changeWords are the words that change knows.
const changeWords = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"

// changes applies lines of a Containerfile to the configuration of an image.
func changes(c *api.ConfigChange, lines []string) error {
	for _, l := range lines {
		if err := change(c, l); err != nil {
			return fmt.Errorf("--change %q: %w", l, err)
		}
	}
	return nil
}

func change(c *api.ConfigChange, line string) (err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return errors.New("nothing follows the word")
	}
	switch strings.ToUpper(word) {
	case "CMD":
		c.Cmd, err = commandLine(rest)
	case "ENTRYPOINT":
		c.Entrypoint, err = commandLine(rest)
	case "ENV":
		var key, value string
		if key, value, err = pair(rest); err == nil {
			c.Env = append(c.Env, key+"="+value)
		}
	case "EXPOSE":
		c.ExposedPorts = append(c.ExposedPorts, strings.Fields(rest)...)
	case "LABEL":
		var key, value string
		if key, value, err = pair(rest); err == nil {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[key] = value
		}
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "USER":
		c.User = rest
	case "VOLUME":
		var dirs []string
		if dirs, err = volumes(rest); err == nil {
			c.Volumes = append(c.Volumes, dirs...)
		}
	case "WORKDIR":
		c.WorkDir = rest
	default:
		err = errors.New("expected " + changeWords)
	}
	return err
}

// commandLine reads a JSON array, or a text for the shell.
func commandLine(s string) ([]string, error) {
	if !strings.HasPrefix(s, "[") {
		return []string{"/bin/sh", "-c", s}, nil
	}
	return array(s)
}

// volumes reads a JSON array, or paths between spaces.
func volumes(s string) ([]string, error) {
	if !strings.HasPrefix(s, "[") {
		return strings.Fields(s), nil
	}
	return array(s)
}

func array(s string) ([]string, error) {
	var list []string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("it is no JSON array of strings: %w", err)
	}
	return list, nil
}

// pair reads KEY=VALUE, the value with or without quotes.
func pair(s string) (key, value string, err error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsAny(key, " \t") {
		return "", "", errors.New("expected KEY=VALUE")
	}
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return key, value, nil
}
