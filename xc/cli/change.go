package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/joyboyid/xc/engine/api"
)

// change applies one line of a Containerfile to an image to be imported.
func change(spec *api.ImportSpec, line string) (err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return errors.New("nothing follows the word")
	}
	switch strings.ToUpper(word) {
	case "CMD":
		spec.Cmd, err = commandLine(rest)
	case "ENTRYPOINT":
		spec.Entrypoint, err = commandLine(rest)
	case "ENV":
		var key, value string
		if key, value, err = pair(rest); err == nil {
			spec.Env = append(spec.Env, key+"="+value)
		}
	case "LABEL":
		var key, value string
		if key, value, err = pair(rest); err == nil {
			if spec.Labels == nil {
				spec.Labels = map[string]string{}
			}
			spec.Labels[key] = value
		}
	case "USER":
		spec.User = rest
	case "WORKDIR":
		spec.WorkDir = rest
	default:
		err = errors.New("expected CMD, ENTRYPOINT, ENV, LABEL, USER or WORKDIR")
	}
	return err
}

// commandLine reads a JSON array, or a text for the shell.
func commandLine(s string) ([]string, error) {
	if !strings.HasPrefix(s, "[") {
		return []string{"/bin/sh", "-c", s}, nil
	}
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
