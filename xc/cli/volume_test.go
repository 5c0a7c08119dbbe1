package cli_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

func TestVolumeCommands(t *testing.T) {
	f := newFake(t)
	for _, tc := range []struct {
		args string
		code int
		out  string // exactly
		err  string // in it
		call string
	}{
		{"volume create -d zfs -l a=1 -l b -o quota=10G -o compression=zstd db", 0, "db\n", "",
			"volume create {Name:db Driver:zfs Labels:map[a:1 b:] Options:map[compression:zstd quota:10G] From:}"},
		{"volume create db", 125, "", "already exists", ""},
		{"volume create --ignore db", 0, "db\n", "", ""},
		{"volume create --from db@monday copy", 0, "copy\n", "", "volume create {Name:copy Driver: Labels:map[] Options:map[] From:db@monday}"},
		{"volume create", 0, "v4nonymous\n", "", ""},
		{"volume create -o quota x", 125, "", `"quota" is no NAME=VALUE`, ""},
		{"volume create -d nfs x", 125, "", "directory or zfs", ""},
		{"volume ls -q", 0, "db\ncopy\nv4nonymous\n", "", ""},
		{"volume ls --format {{.Name}}:{{.Labels}}", 0, "db:a=1,b=\ncopy:\nv4nonymous:\n", "", ""},
		{"volume inspect --format {{.Name}}={{.Mountpoint}} db copy", 0, "db=/volumes/db\ncopy=/volumes/copy\n", "", ""},
		{"inspect --format {{.Driver}} db", 0, "zfs\n", "", ""},
		{"inspect --type volume --format {{.Driver}} db", 0, "zfs\n", "", ""},
		{"inspect none", 125, "[]\n", "no container, image, network or volume", ""},
		{"volume snapshot db monday", 0, "db@monday\n", "", "volume snapshot db monday"},
		{"volume rm db@monday", 0, "db@monday\n", "", "volume rm db@monday {Force:false}"},
		{"volume rm none", 125, "", "none: file does not exist", ""},
		{"volume rm -f none", 0, "none\n", "", "volume rm none {Force:true}"},
		{"volume rm copy none", 125, "copy\n", "none", ""},
		{"volume prune -f", 0, "Deleted: old\nTotal reclaimed space: 2MB\n", "", "volume prune {All:false}"},
		{"volume prune -af --format {{.Bytes}}", 0, "2000000\n", "", "volume prune {All:true}"},
	} {
		got := f.xc(t, strings.Fields(tc.args)...)
		if got.code != tc.code || got.out != tc.out || !strings.Contains(got.errout, tc.err) {
			t.Errorf("xc %s: %d %q %q", tc.args, got.code, got.out, got.errout)
		}
		if tc.call != "" && !f.noted(tc.call) {
			t.Errorf("xc %s: no call %q among %q", tc.args, tc.call, f.made())
		}
	}
}

// What the engine says of a volume in use keeps its meaning on the wire, and its
// words.
func TestVolumeInUse(t *testing.T) {
	f := newFake(t)
	f.volumes = []api.Volume{{Name: "db", Driver: "directory", Users: []string{"web", "work"}}}
	if got := f.xc(t, "volume", "rm", "db"); got.code != 125 || got.errout != "xc: remove volume db: in use: by the container web, work\n" {
		t.Errorf("%+v", got)
	}
	e, err := f.dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveVolume(t.Context(), "db", api.RemoveVolumeOptions{}); !errors.Is(err, api.ErrInUse) {
		t.Errorf("%v", err)
	}
	got := f.xc(t, "volume", "ls")
	if want := "DRIVER      VOLUME NAME   CONTAINERS\ndirectory   db            web,work\n"; got.out != want {
		t.Errorf("%q, want %q", got.out, want)
	}
	var list []api.Volume
	if err := json.Unmarshal([]byte(f.xc(t, "volume", "inspect", "db").out), &list); err != nil || len(list) != 1 || list[0].Users[1] != "work" {
		t.Errorf("%+v, %v", list, err)
	}
	if got := f.xc(t, "__complete", "volume", "rm", "d"); !strings.HasPrefix(got.out, "db\n") {
		t.Errorf("completion: %q", got.out)
	}
}
