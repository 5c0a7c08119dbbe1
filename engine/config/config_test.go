package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/config"
)

func TestParse(t *testing.T) {
	got, err := config.Parse("xc.config", []byte(`
# All keys.
state_dir: /data/xc
run_dir: /run/xc
logs_dir: "/var/log/xc"
credentials: /root/.docker/config.json
socket_path: /run/xc.sock
socket_group: 1001
image_dataset: zroot/xc/images
container_dataset: zroot/xc/containers
devfs_id_offset: 2000
log_max_size: 64M
log_files: 5
log_level: debug
events_max: 5000
events_age: 30d
registries:
  registry.example:5000: {plain_http: true}
  docker.io:
    mirrors: [mirror.lan:5000, "cache.lan/hub"]
    ca: /etc/ca.pem
    cert: /etc/me.pem
    key: /etc/me.key
    skip_verify: false
  "[fd00::1]:5000":
    plain_http: false
  ghcr.io:
search_registries:
  - registry.lan/base
  - docker.io
`))
	want := config.Config{
		StateDir: "/data/xc", RunDir: "/run/xc", LogsDir: "/var/log/xc", Credentials: "/root/.docker/config.json", SocketPath: "/run/xc.sock", SocketGroup: "1001",
		ImageDataset: "zroot/xc/images", ContainerDataset: "zroot/xc/containers", DevfsIDOffset: 2000,
		LogMaxSize: 64 << 20, LogFiles: 5, LogLevel: "debug", EventsMax: 5000, EventsAge: 30 * 24 * time.Hour, Search: []string{"registry.lan/base", "docker.io"},
		Registries: map[string]config.Registry{
			"docker.io":             {Mirrors: []string{"mirror.lan:5000", "cache.lan/hub"}, CAs: []string{"/etc/ca.pem"}, Cert: "/etc/me.pem", Key: "/etc/me.key"},
			"registry.example:5000": {PlainHTTP: true}, "[fd00::1]:5000": {}, "ghcr.io": {},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for _, nothing := range []string{"", "# only a comment\n", "---\n"} {
		if got, err := config.Parse("xc.config", []byte(nothing)); err != nil || !reflect.DeepEqual(got, config.Config{}) {
			t.Errorf("%q: %+v, %v", nothing, got, err)
		}
	}
}

// Each error names the file, the line and the key, and says what is wrong.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"log_files: 3\nlayers_dir: /x":                    "f:2: layers_dir: unknown key; known ones are state_dir,",
		"state_dir: /a\nrun_dir: /b\nstate_dir: /c":       "f:3: state_dir: the key is in line 1 already",
		"state_dir: relative":                             `f:1: state_dir: "relative": expected an absolute path`,
		"state_dir: [/a]":                                 "f:1: state_dir: expected a text",
		"state_dir:":                                      "f:1: state_dir: expected a text",
		"\n\nlog_files: 0":                                `f:3: log_files: "0": expected a number from 1 to 1000`,
		"log_files: many":                                 "log_files",
		"log_max_size: 12Q":                               `f:1: log_max_size: "12Q": expected a size in bytes`,
		"log_max_size: 1":                                 "from 4096 to",
		"log_max_size: 9223372036854775807G":              "expected a size",
		"log_max_size: K":                                 "expected a size",
		"log_level: loud":                                 "expected one of trace, debug, info, warn, error",
		"image_dataset: /zroot/x\ncontainer_dataset: b":   "f:1: image_dataset",
		"image_dataset: zroot/a@b\ncontainer_dataset: b":  "ZFS dataset",
		"image_dataset: zroot/../b\ncontainer_dataset: b": "ZFS dataset",
		"image_dataset: zroot/a":                          "f: image_dataset and container_dataset go together",
		"devfs_id_offset: 70000":                          "from 1 to 65000",
		"socket_group: a b":                               "group",
		"registries: [a]":                                 "f:1: registries: expected keys with values",
		"registries:\n  http://a: {}":                     "f:2: registries.http://a: expected a registry as HOST",
		"registries:\n  a:0: {}":                          "HOST:PORT",
		"registries:\n  a:\n    plain_http: maybe":        `f:3: registries.a.plain_http: "maybe": expected true or false`,
		"registries:\n  a:\n    insecure: true":           "f:3: registries.a.insecure: unknown key; known ones are plain_http",
		"registries:\n  a:\n    mirrors: http://b":        `f:3: registries.a.mirrors: "http://b": expected a registry`,
		"registries:\n  a:\n    cert: /b":                 "f:3: registries.a: cert and key go together",
		"registries:\n  a:\n    ca: [b]":                  `f:3: registries.a.ca: "b": expected the absolute path`,
		"search_registries: [a, {}]":                      "f:1: search_registries:",
		"events_max: 1":                                   `f:1: events_max: "1": expected a number from 100`,
		"events_age: 5":                                   `f:1: events_age: "5": expected a time from 1m`,
		"events_age: 1s":                                  "expected a time",
		"events_age: 36501d":                              "expected a time",
		"events_age: 2000000000000d":                      "expected a time",
		"- a":                                             "f:1: : expected keys with values",
		"a: b: c":                                         "f: ",
		"log_files: 1\n---\nlog_files: 2":                 "more than one document",
		"<<: {log_files: 1}":                              "f:1: <<: unknown key",
	} {
		_, err := config.Parse("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "config.") {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Load(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := config.Load(dir); err == nil {
		t.Error("a directory was read")
	}
	name := filepath.Join(dir, "xc.config")
	if err := os.WriteFile(name, []byte("log_files: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(name); err == nil || !strings.Contains(err.Error(), name+":1: log_files") {
		t.Errorf("bad value: %v", err)
	}
	if err := os.WriteFile(name, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(name); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("large file: %v", err)
	}
}

// The documentation has the keys, all of them and no others.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs the source tree: run it in engine/config of a clone")
	}
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, line := range strings.Split(string(b), "\n") {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			documented[name] = true
		}
	}
	_, err = config.Parse("f", []byte("nonsense: 1"))
	_, list, _ := strings.Cut(err.Error(), "known ones are ")
	known := strings.Split(list, ", ")
	for _, k := range known {
		if !documented[k] {
			t.Errorf("%s is not in docs/configuration.md", k)
		}
	}
	if len(documented) != len(known) {
		t.Errorf("docs/configuration.md has %d keys, there are %d", len(documented), len(known))
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "state_dir: /a", "registries: {a: {plain_http: true}}", "a: &x [*x]", "? [a]\n: b", "log_max_size: 1G", "\x00", "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Parse("f", b)
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("the error does not name the file: %v", err)
		}
		if err == nil && c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
			t.Errorf("state_dir %q", c.StateDir)
		}
	})
}

func Example() {
	c, err := config.Parse("xc.config", []byte("log_max_size: 1M\nregistries:\n  registry.lan: {plain_http: true}\n"))
	fmt.Println(c.LogMaxSize, c.Registries["registry.lan"].PlainHTTP, err)
	_, err = config.Parse("xc.config", []byte("state_dir: /var/db/xc\nlog_file: 3\n"))
	fmt.Println(strings.SplitAfter(err.Error(), ";")[0])
	// Output:
	// 1048576 true <nil>
	// xc.config:2: log_file: unknown key;
}
