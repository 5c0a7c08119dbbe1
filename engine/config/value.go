package config

import (
	"math"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// reader reads the value of a key.
type reader = func(p *parser, key string, n *yaml.Node) error

// check says what is wrong with a value, "" for nothing.
type check func(value string) (problem string)

// text reads a string.
func text(field func(*Config) *string, ok check) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return p.fail(n, key, "expected a text")
		}
		if problem := ok(n.Value); problem != "" {
			return p.fail(n, key, "%q: %s", n.Value, problem)
		}
		*field(&p.config) = n.Value
		return nil
	}
}

// path reads an absolute path.
func path(field func(*Config) *string) reader {
	return text(field, func(v string) string {
		if !filepath.IsAbs(v) || strings.ContainsRune(v, 0) {
			return "expected an absolute path"
		}
		return ""
	})
}

// number reads an integer of a range.
func number(field func(*Config) *int, lowest, highest int) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < lowest || v > highest {
			return p.fail(n, key, "%q: expected a number from %d to %d", n.Value, lowest, highest)
		}
		*field(&p.config) = v
		return nil
	}
}

// size reads a number of bytes: 4096, 64K, 16M, 1G.
func size(field func(*Config) *int64, lowest, highest int64) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		v, ok := bytesOf(n.Value)
		if n.Kind != yaml.ScalarNode || !ok {
			return p.fail(n, key, "%q: expected a size in bytes, as 65536, 64K, 16M or 1G", n.Value)
		}
		if v < lowest || v > highest {
			return p.fail(n, key, "%q: expected a size from %d to %d bytes", n.Value, lowest, highest)
		}
		*field(&p.config) = v
		return nil
	}
}

func bytesOf(s string) (int64, bool) {
	unit := int64(1)
	if i := strings.IndexAny(s, "KkMmGg"); i == len(s)-1 && i > 0 {
		unit = map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[strings.ToUpper(s)[i]]
		s = s[:i]
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v * unit, err == nil && v >= 0 && v <= math.MaxInt64/unit
}

// age reads how long something is kept: 90m, 12h, 30d.
func age(field func(*Config) *time.Duration) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		text, factor := n.Value, 1
		if days, ok := strings.CutSuffix(text, "d"); ok {
			text, factor = days+"h", 24
		}
		const highest = 100 * 365 * 24 * time.Hour
		d, err := time.ParseDuration(text)
		if n.Kind != yaml.ScalarNode || err != nil || d > highest || d*time.Duration(factor) < time.Minute || d*time.Duration(factor) > highest {
			return p.fail(n, key, "%q: expected a time from 1m to 100 years, as 90m, 12h or 30d", n.Value)
		}
		*field(&p.config) = d * time.Duration(factor)
		return nil
	}
}

// flag reads a truth value.
func flag(field *bool) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(field) != nil {
			return p.fail(n, key, "%q: expected true or false", n.Value)
		}
		return nil
	}
}

func isWord(v string) string {
	if v == "" || strings.ContainsAny(v, " \t\n:\x00") {
		return "expected the name or the number of a group"
	}
	return ""
}

func isLevel(v string) string {
	if !slices.Contains(Levels(), v) {
		return "expected one of " + strings.Join(Levels(), ", ")
	}
	return ""
}

// isDataset follows zfs(8): components of letters, digits and -_.: , none of
// them empty, the first beginning with a letter. Snapshots are not datasets.
func isDataset(v string) string {
	const problem = "expected the name of a ZFS dataset, as zroot/xc/images"
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.: "
	if v == "" || len(v) > 200 || strings.Trim(v[:1], chars[:52]) != "" {
		return problem
	}
	for _, c := range strings.Split(v, "/") {
		if c == "" || c == "." || c == ".." || strings.Trim(c, chars) != "" || strings.HasSuffix(c, " ") {
			return problem
		}
	}
	return ""
}

// isHost tells whether v is HOST or HOST:PORT, as in a reference to an image.
func isHost(v string) bool {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(v, "["), "]")
	} else if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return false
	}
	if net.ParseIP(host) != nil {
		return true
	}
	return host != "" && len(host) <= 253 &&
		strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}

// list reads a list of texts, or one.
func list(field func(*Config) *[]string, ok func(string) bool, expected string) reader {
	return func(p *parser, key string, n *yaml.Node) error {
		values := []*yaml.Node{n}
		if n.Kind == yaml.SequenceNode {
			values = n.Content
		}
		*field(&p.config) = nil
		for _, v := range values {
			if v.Kind != yaml.ScalarNode || v.Tag == "!!null" || !ok(v.Value) {
				return p.fail(v, key, "%q: expected %s", v.Value, expected)
			}
			*field(&p.config) = append(*field(&p.config), v.Value)
		}
		return nil
	}
}

// isPlace tells whether v is HOST or HOST:PORT, with or without a path.
func isPlace(v string) bool {
	host, path, more := strings.Cut(v, "/")
	if !isHost(host) || more && path == "" {
		return false
	}
	return !more || strings.Trim(path, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == "" && !strings.Contains(path, "//") && !strings.HasSuffix(path, "/")
}
