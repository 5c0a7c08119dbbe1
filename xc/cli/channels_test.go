package cli_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func (f *fake) CreateChannel(_ context.Context, spec api.ChannelSpec) (api.Channel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.channels, func(c api.Channel) bool { return c.Path == spec.Path }) {
		return api.Channel{}, fmt.Errorf("create channel %s: %w", spec.Path, fs.ErrExist)
	}
	c := api.Channel{Path: spec.Path, Socket: spec.Path + "/xc.sock", Mode: spec.Mode, Allow: spec.Allow, Created: time.Now().Add(-5 * time.Minute)}
	f.channels = append(f.channels, c)
	return c, nil
}

func (f *fake) ListChannels(context.Context) ([]api.Channel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.channels), nil
}

func (f *fake) RemoveChannel(_ context.Context, path string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.channels)
	f.channels = slices.DeleteFunc(f.channels, func(c api.Channel) bool { return c.Path == path })
	if len(f.channels) == n {
		return "", fmt.Errorf("channel %s: %w", path, fs.ErrNotExist)
	}
	return path, nil
}

func TestChannels(t *testing.T) {
	t.Chdir(t.TempDir())
	f := newFake(t)
	if r := f.xc(t, "channel", "create", "--allow", "Images.*,System.Info", "--mode", "0660", "/run/web"); r.out != "/run/web\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "channel", "create", "here"); r.code != 0 || !strings.HasPrefix(r.out, "/") || !strings.HasSuffix(r.out, "/here\n") {
		t.Errorf("a path is made absolute: %+v", r)
	}
	if r := f.xc(t, "channel", "create", "/run/web"); r.code != 125 || !strings.Contains(r.errout, "exist") {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "channel", "rm", "here"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	f.channels[0].Error = "nobody answers"
	want := "PATH       MODE      CREATED         STATUS           ALLOWED\n" +
		"/run/web   0660      5 minutes ago   nobody answers   Images.*,System.Info\n"
	if r := f.xc(t, "channel", "ls"); r.out != want {
		t.Errorf("%s%s\nwant\n%s", r.out, r.errout, want)
	}
	if r := f.xc(t, "channel", "ls", "--format", "json"); !strings.HasPrefix(r.out, `{"Path":"/run/web","Socket":"/run/web/xc.sock","Mode":"0660"`) {
		t.Errorf("%+v", r)
	}
	f.channels[0].Allow = append(f.channels[0].Allow, "System.Version")
	if r := f.xc(t, "channel", "ls", "--format", "{{.Allow}}"); r.out != "Images.* and 2 more\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "channel", "ls", "--no-trunc", "--format", "{{.Allow}}"); r.out != "Images.*,System.Info,System.Version\n" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "channel", "ls", "-q"); r.out != "/run/web\n" {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"channel rm /":                          "/run/web\n:4\n",
		"channel create --allow Images.Inspect": "Images.InspectImage\n:4\n",
		"channel create --allow System.I":       "System.Info\n:4\n",
		"channel create --allow System.*":       "System.*\n:4\n",
		"channel create --allow Chan":           ":4\n", // it cannot be allowed
		"channel create ":                       ":0\n", // a path
	} {
		if r := f.xc(t, append([]string{"__complete"}, strings.Split(args, " ")...)...); r.out != want {
			t.Errorf("completing %q: %q, want %q", args, r.out, want)
		}
	}
	if r := f.xc(t, "channel", "rm", "/run/web", "/run/web"); r.code != 125 || r.out != "/run/web\n" {
		t.Errorf("%+v", r)
	}
}
