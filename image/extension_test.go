package image_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/joyboyid/xc/image"
)

func TestParseExtension(t *testing.T) {
	if x, err := image.ParseExtension(map[string]string{"other": "label"}); x != nil || err != nil {
		t.Errorf("%+v, %v", x, err)
	}
	x, err := image.ParseExtension(map[string]string{image.ExtensionLabel: `{
		"version": 1, "allow": ["raw_sockets", "mount.tmpfs"], "sysvipc": "new", "securelevel": 2, "datasets": 1, "vnet": true,
		"init": [{"args": ["chown", "www", "/data"], "user": "0"}, {"args": ["migrate"]}], "deinit": [{"args": ["dump"]}], "deinit_timeout": 60,
		"devices": ["dri/*", "bpf?", "null"], "special_mounts": ["procfs", "fdescfs"],
		"required_env": [{"name": "DB_URL", "description": "where the data is"}, {"name": "KEY"}]}`})
	if err != nil || len(x.Allow) != 2 || *x.SecureLevel != 2 || x.Datasets != 1 || !x.VNET || x.SysVIPC != image.SysVNew || len(x.Devices) != 3 || len(x.SpecialMounts) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	if len(x.Init) != 2 || x.Init[0].User != "0" || x.Init[1].Args[0] != "migrate" || len(x.Deinit) != 1 || x.DeinitTimeout != 60 {
		t.Errorf("commands: %+v", x)
	}
	if m := x.Missing([]string{"KEY=", "DB_URLS=x"}); len(m) != 1 || m[0].Name != "DB_URL" {
		t.Errorf("%+v", m)
	}
	for text, want := range map[string]string{
		``:                                       "EOF",
		`{}`:                                     "version 0",
		`{"version":2}`:                          "version 2",
		`{"version":1}x`:                         "follows",
		`{"version":1,"init":["/bin/sh"]}`:       "cannot unmarshal string",
		`{"version":1,"init":[{"args":[]}]}`:     "names no program",
		`{"version":1,"deinit":[{"args":[""]}]}`: "names no program",
		`{"version":1,"deinit":[{"args":["a\u0000"]}]}`:                                            "NUL",
		`{"version":1,"init":[{"args":["a"],"group":"b"}]}`:                                        `unknown field "group"`,
		`{"version":1,"deinit_timeout":-1}`:                                                        "deinit_timeout",
		`{"version":1,"deinit_timeout":3601}`:                                                      "deinit_timeout",
		`{"version":1,"exit":["/bin/sh"]}`:                                                         `unknown field "exit"`,
		`{"version":1,"sysvipc":"old"}`:                                                            "sysvipc",
		`{"version":1,"securelevel":4}`:                                                            "securelevel",
		`{"version":1,"datasets":-1}`:                                                              "datasets",
		`{"version":1,"allow":["mount=1 exec.start"]}`:                                             "allow",
		`{"version":1,"allow":[""]}`:                                                               "allow",
		`{"version":1,"required_env":[{"name":"A=B"}]}`:                                            "required_env",
		`{"version":1,"required_env":[{"name":"A","description":"a\u001b[31m"}]}`:                  "one line",
		`{"version":1,"devices":["/dev/bpf"]}`:                                                     "devices",
		`{"version":1,"devices":["../bpf"]}`:                                                       "devices",
		`{"version":1,"devices":["a unhide"]}`:                                                     "devices",
		`{"version":1,"special_mounts":["nullfs"]}`:                                                "special_mounts",
		`{"version":1,"mounts":[{"destination":"/d"}]}`:                                            "no name",
		`{"version":1,"mounts":[{"name":"/d","destination":"/d"}]}`:                                "no name",
		`{"version":1,"mounts":[{"name":"d","destination":"d"}]}`:                                  "absolute",
		`{"version":1,"mounts":[{"name":"d","destination":"/a/../d"}]}`:                            "shortest",
		`{"version":1,"mounts":[{"name":"d","destination":"/"}]}`:                                  "shortest",
		`{"version":1,"mounts":[{"name":"d","destination":"/d","type":"bind"}]}`:                   "type",
		`{"version":1,"mounts":[{"name":"d","destination":"/d","size":5}]}`:                        "size",
		`{"version":1,"mounts":[{"name":"d","destination":"/d","source":"/etc"}]}`:                 "unknown field",
		`{"version":1,"mounts":[{"name":"d","destination":"/d","description":"\n"}]}`:              "one line",
		`{"version":1,"mounts":[{"name":"d","destination":"/d"},{"name":"e","destination":"/d"}]}`: "twice",
		strings.Repeat(" ", 1<<17):                                                                 "at most",
	} {
		if _, err := image.ParseExtension(map[string]string{image.ExtensionLabel: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v; want %s", text, err, want)
		}
	}
}

func FuzzParseExtension(f *testing.F) {
	f.Add(`{"version":1,"mounts":[{"name":"d","destination":"/d","type":"tmpfs","size":5,"read_only":true}]}`)
	f.Add(`{"version":1,"devices":["dri/*"],"special_mounts":["procfs"],"vnet":true}`)
	f.Add(`{"version":1,"allow":["a"],"required_env":[{"name":"A"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		x, err := image.ParseExtension(map[string]string{image.ExtensionLabel: text})
		if err != nil {
			return
		}
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := image.ParseExtension(map[string]string{image.ExtensionLabel: string(b)}); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	})
}

func ExampleParseExtension() {
	x, err := image.ParseExtension(map[string]string{image.ExtensionLabel: `{"version": 1, "required_env": [{"name": "DB_URL"}]}`})
	fmt.Println(x.Missing([]string{"PATH=/bin"}), err)
	// Output: [{DB_URL }] <nil>
}
