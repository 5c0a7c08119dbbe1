// Package config reads the configuration of xcd: a YAML file whose keys are
// those of docs/configuration.md and no others. A key that is unknown, written
// twice, or has a value that cannot be used is an error that names the file,
// the line and the key; nothing is ignored.
//
//	c, err := config.Load(config.Path)
//	if errors.Is(err, fs.ErrNotExist) {
//		c, err = config.Config{}, nil // the defaults serve
//	}
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Path is where the file is when nobody says otherwise.
const Path = "/usr/local/etc/xc.config"

// maxSize bounds the file, in bytes.
const maxSize = 1 << 20

// Config is what the file says. A zero field was not set: the default of
// whoever uses it holds.
type Config struct {
	StateDir    string
	RunDir      string
	LogsDir     string
	SocketPath  string
	SocketGroup string // name or number

	ImageDataset     string
	ContainerDataset string
	VolumeDataset    string
	DevfsIDOffset    int

	LogMaxSize int64 // bytes
	LogFiles   int
	LogLevel   string // one of Levels

	EventsMax int
	EventsAge time.Duration

	Registries  map[string]Registry // by host or host:port
	Search      []string            // where short names are looked for: registries, with or without a path
	Credentials string              // path of a file as Docker's config.json
}

// Registry is how to speak to a registry.
type Registry struct {
	PlainHTTP  bool
	SkipVerify bool
	CAs        []string // files
	Cert, Key  string   // files
	Mirrors    []string // HOST[:PORT][/PREFIX]
}

// Levels are the values of log_level.
func Levels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// Load reads the file at path. The error matches fs.ErrNotExist when there is
// none.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxSize {
		return Config{}, fmt.Errorf("read configuration: %s is larger than %d bytes", path, maxSize)
	}
	return Parse(path, b)
}

// Parse reads the content of a file. The name is for the errors.
func Parse(name string, b []byte) (Config, error) {
	p := parser{file: name}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) { // nothing but comments
		return p.config, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: it has more than one document", name)
	}
	if err := p.mapping(doc.Content[0], "", keys()); err != nil {
		return Config{}, err
	}
	if c := p.config; (c.ImageDataset == "") != (c.ContainerDataset == "") {
		return Config{}, fmt.Errorf("%s: image_dataset and container_dataset go together: set both or none", name)
	}
	return p.config, nil
}

// setting is a key and how its value is read.
type setting struct {
	name string
	read reader
}

// keys is the whole language.
func keys() []setting {
	return []setting{
		{"state_dir", path(func(c *Config) *string { return &c.StateDir })},
		{"run_dir", path(func(c *Config) *string { return &c.RunDir })},
		{"logs_dir", path(func(c *Config) *string { return &c.LogsDir })},
		{"socket_path", path(func(c *Config) *string { return &c.SocketPath })},
		{"socket_group", text(func(c *Config) *string { return &c.SocketGroup }, isWord)},
		{"image_dataset", text(func(c *Config) *string { return &c.ImageDataset }, isDataset)},
		{"container_dataset", text(func(c *Config) *string { return &c.ContainerDataset }, isDataset)},
		{"default_volume_dataset", text(func(c *Config) *string { return &c.VolumeDataset }, isDataset)},
		{"devfs_id_offset", number(func(c *Config) *int { return &c.DevfsIDOffset }, 1, 65000)},
		{"log_max_size", size(func(c *Config) *int64 { return &c.LogMaxSize }, 4<<10, 1<<40)},
		{"log_files", number(func(c *Config) *int { return &c.LogFiles }, 1, 1000)},
		{"log_level", text(func(c *Config) *string { return &c.LogLevel }, isLevel)},
		{"events_max", number(func(c *Config) *int { return &c.EventsMax }, 100, 10_000_000)},
		{"events_age", age(func(c *Config) *time.Duration { return &c.EventsAge })},
		{"registries", (*parser).registries},
		{"search_registries", list(func(c *Config) *[]string { return &c.Search }, isPlace, "a registry as HOST, HOST:PORT or HOST/PATH, without a scheme")},
		{"credentials", path(func(c *Config) *string { return &c.Credentials })},
	}
}

type parser struct {
	file   string
	config Config
}

// fail makes an error with the place of a value.
func (p *parser) fail(n *yaml.Node, key, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %s", p.file, n.Line, key, fmt.Sprintf(format, args...))
}

// mapping reads a mapping with the keys given; prefix is where it is.
func (p *parser) mapping(n *yaml.Node, prefix string, keys []setting) error {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	return p.each(n, prefix, func(name, value *yaml.Node) error {
		i := slices.Index(names, name.Value)
		if i < 0 {
			return p.fail(name, prefix+name.Value, "unknown key; known ones are %s", strings.Join(names, ", "))
		}
		return keys[i].read(p, prefix+name.Value, value)
	})
}

// each calls f for the pairs of a mapping, in which no key is written twice.
func (p *parser) each(n *yaml.Node, prefix string, f func(name, value *yaml.Node) error) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil // a key with nothing after it
	}
	if n.Kind != yaml.MappingNode {
		return p.fail(n, strings.TrimSuffix(prefix, "."), "expected keys with values")
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if line, twice := seen[name.Value]; twice {
			return p.fail(name, prefix+name.Value, "the key is in line %d already", line)
		}
		seen[name.Value] = name.Line
		if err := f(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// registries reads settings by host.
func (p *parser) registries(key string, n *yaml.Node) error {
	p.config.Registries = map[string]Registry{}
	return p.each(n, key+".", func(name, value *yaml.Node) error {
		host := key + "." + name.Value
		if !isHost(name.Value) {
			return p.fail(name, host, "expected a registry as HOST or HOST:PORT, without a scheme or a path")
		}
		var r Registry
		into := func(v *[]string) func(*Config) *[]string { return func(*Config) *[]string { return v } }
		file := func(v *string) reader { return path(func(*Config) *string { return v }) }
		err := p.mapping(value, host+".", []setting{
			{"plain_http", flag(&r.PlainHTTP)}, {"skip_verify", flag(&r.SkipVerify)},
			{"ca", list(into(&r.CAs), filepath.IsAbs, "the absolute path of a file")}, {"cert", file(&r.Cert)}, {"key", file(&r.Key)},
			{"mirrors", list(into(&r.Mirrors), isPlace, "a registry as HOST, HOST:PORT or HOST/PREFIX, without a scheme")},
		})
		if err == nil && (r.Cert == "") != (r.Key == "") {
			err = p.fail(value, host, "cert and key go together: set both or none")
		}
		p.config.Registries[name.Value] = r
		return err
	})
}
