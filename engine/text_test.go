package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// Arguments, variables and paths that are not UTF-8 would be others in a record,
// which is JSON, and are refused by name. Nothing is left of the attempt.
func TestIntegrationTextIsRefused(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c := begin(t, e, "root", "echo ready; exec sleep 1000")
	create := func(spec api.ContainerSpec) error {
		spec.Image = "root"
		_, err := e.CreateContainer(t.Context(), spec)
		return err
	}
	exec := func(opt api.ExecOptions) error {
		_, err := e.ExecContainer(t.Context(), c.ID, opt)
		return err
	}
	_, volume := e.CreateVolume(t.Context(), api.VolumeSpec{Name: "v", Labels: map[string]string{"a": "\xff"}})
	_, network := e.CreateNetwork(t.Context(), api.NetworkSpec{Name: "n", Labels: map[string]string{"a": "\xff"}})
	_, open := engine.Open(t.Context(), config(filepath.Join(shortTempDir(t), "caf\xe9")))
	link := filepath.Join(shortTempDir(t), "link")
	if err := errors.Join(os.Mkdir(filepath.Join(filepath.Dir(link), "\xff"), 0o700), os.Symlink("\xff", link)); err != nil {
		t.Fatal(err)
	}
	_, linked := e.CreateChannel(t.Context(), api.ChannelSpec{Path: filepath.Join(link, "web")})
	_, channel := e.CreateChannel(t.Context(), api.ChannelSpec{Path: filepath.Join(shortTempDir(t), "caf\xe9")})
	_, commit := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "i", Message: "caf\xe9"})
	_, imported := e.ImportImage(t.Context(), api.ImportSpec{Name: "i", Archive: os.Stdin, ConfigChange: api.ConfigChange{Cmd: []string{"a", "\xff"}}})
	for want, err := range map[string]error{
		`command[1] "caf\xe9" is not UTF-8`:         create(api.ContainerSpec{Command: []string{"echo", "caf\xe9"}}),
		`env[0] "A=\xff" is not UTF-8`:              create(api.ContainerSpec{Env: []string{"A=\xff"}}),
		`mounts[0].source "/caf\xe9" is not UTF-8`:  create(api.ContainerSpec{Mounts: []api.Mount{{Source: "/caf\xe9", Destination: "/a"}}}),
		`labels[a] "\xff" is not UTF-8`:             volume,
		`create network n: labels[a] "\xff" is not`: network,
		`path "` + "/":                      channel,
		`open engine: directory "`:          open,
		`\xff/web" is not UTF-8`:            linked,
		`message "caf\xe9" is not UTF-8`:    commit,
		`cmd[1] "\xff" is not UTF-8`:        imported,
		`: args[1] "\xff\xfe" is not UTF-8`: exec(api.ExecOptions{Args: []string{"echo", "\xff\xfe"}}),
		`: env[0] "\xff" is not UTF-8`:      exec(api.ExecOptions{Args: []string{"echo"}, Env: []string{"\xff"}}),
	} {
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

// All that is UTF-8 arrives as it is, U+FFFD and what JSON escapes too; and paths
// that are not come back as they are, in process and through a socket.
func TestIntegrationTextIsExact(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	channel, err := e.CreateChannel(t.Context(), api.ChannelSpec{Path: filepath.Join(shortTempDir(t), "all"), Allow: []string{"Containers.*"}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ipc.Open(t.Context(), channel.Socket)
	if err != nil {
		t.Fatal(err)
	}
	for name, engine := range map[string]api.Engine{"in process": e, "over ipc": api.EngineClient{C: conn}} {
		t.Run(name, func(t *testing.T) {
			word := "é\ufffd\u2028 <&>\x01\x7f\\ufffd\"\U0001f600"
			out, exit := sh(t, engine, api.ContainerSpec{Env: []string{"WORD=" + word}}, `printf %s "$WORD"; printf %s '`+word+`'`)
			if out != word+word || exit.Code != 0 {
				t.Errorf("%q, %+v\nwant %q", out, exit, word+word)
			}
			c := begin(t, engine, "root", `echo x >"$(printf '/caf\351')"; ln -s "$(printf 'caf\351')" /link; echo ready`)
			if _, err := engine.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := diff(t, engine, c.ID); !slices.Contains(got, "A /caf\xe9") {
				t.Errorf("%q", got)
			}
			if f, err := engine.StatContainer(t.Context(), c.ID, "/link", true); err != nil || f.Path != "/caf\xe9" {
				t.Errorf("%+v, %v", f, err)
			}
			if err := engine.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.RemoveChannel(t.Context(), channel.Path); err != nil {
		t.Error(err)
	}
}
