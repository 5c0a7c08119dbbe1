package engine_test

import (
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
)

// Each field of an image's extension is applied or refused.
func TestIntegrationImageExtension(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	jail, asked := runtime.GOOS == "freebsd", fs.ErrPermission
	if !jail {
		asked = errors.ErrUnsupported
	}
	grant := func(flag string) string { // what the error says
		if jail {
			return flag
		}
		return "jail of FreeBSD"
	}
	for _, tc := range []struct {
		text string
		spec api.ContainerSpec
		ok   bool
		is   error
		says string
	}{
		{`{"version":1,"required_env":[{"name":"DB","description":"where"}]}`, api.ContainerSpec{}, false, fs.ErrInvalid, "DB (where)"},
		{`{"version":1,"required_env":[{"name":"DB"}]}`, api.ContainerSpec{Env: []string{"DB=x"}}, true, nil, ""},
		{`{"version":1,"vnet":true}`, api.ContainerSpec{Networks: []api.Attachment{{Network: api.NetworkHost}}}, false, fs.ErrInvalid, "network stack"},
		{`{"version":1,"vnet":true}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"allow":["raw_sockets"]}`, api.ContainerSpec{}, false, asked, grant("-o allow.raw_sockets")},
		{`{"version":1,"sysvipc":"inherit"}`, api.ContainerSpec{}, false, asked, grant("-o sysvmsg=inherit")},
		{`{"version":1,"sysvipc":"new"}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"datasets":1}`, api.ContainerSpec{}, false, asked, grant("--dataset")},
		{`{"version":1,"securelevel":-1}`, api.ContainerSpec{}, false, asked, grant("-o securelevel=-1")},
		{`{"version":1,"devices":["dri/*","null"]}`, api.ContainerSpec{}, false, asked, grant("a ruleset that shows dri/*")},
		{`{"version":1,"devices":["null","pts/*"]}`, api.ContainerSpec{}, jail, errors.ErrUnsupported, "FreeBSD"},
		{`{"version":1,"special_mounts":["procfs","fdescfs"]}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"special_mounts":["linprocfs"]}`, api.ContainerSpec{}, false, nil, "special_mounts"},
		{`{"version":1,"securelevel":2}`, api.ContainerSpec{}, jail, errors.ErrUnsupported, "FreeBSD"},
		{`{"version":1,"init":[{"args":["true"]}],"deinit_timeout":3}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"init":[{"args":[]}]}`, api.ContainerSpec{}, false, nil, "names no program"},
		{`{"version":1,"shutdown":[]}`, api.ContainerSpec{}, false, nil, `unknown field "shutdown"`},
		{`{"version":1,"mounts":[{"name":"data","destination":"/d","required":true,"description":"where it is kept"}]}`, api.ContainerSpec{}, false, fs.ErrInvalid, "-v NAME:data (where it is kept)"},
		{`{"version":1,"mounts":[{"name":"data","destination":"/d","required":true}]}`, api.ContainerSpec{Mounts: []api.Mount{volumeMount("v", "data")}}, true, nil, ""},
		{`{"version":1,"mounts":[{"name":"data","destination":"/d"}]}`, api.ContainerSpec{Mounts: []api.Mount{volumeMount("v", "dat")}}, false, fs.ErrInvalid, "name of a mount"},
		{`{"version":1,"mounts":[{"name":"data","destination":"d"}]}`, api.ContainerSpec{}, false, nil, "absolute"},
	} {
		if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "x", ConfigChange: api.ConfigChange{Labels: map[string]string{image.ExtensionLabel: tc.text}}}); err != nil {
			t.Fatal(err)
		}
		spec := tc.spec
		spec.Image, spec.Command = "x", []string{"true"}
		got, err := e.CreateContainer(t.Context(), spec)
		if tc.ok != (err == nil) || !tc.ok && (tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s with %+v: %v", tc.text, tc.spec, err)
		}
		if err == nil {
			if err := e.RemoveContainer(t.Context(), got.ID, api.RemoveOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
}

// The mounts that an image asks for are there, and no more can be done in them
// than it says.
func TestIntegrationImageMounts(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"version":1,"mounts":[{"name":"data","destination":"/d","noexec":true},{"name":"fixed","destination":"/f","read_only":true},{"name":"tmp","destination":"/t","type":"tmpfs","size":1048576}]}`
	if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "x", ConfigChange: api.ConfigChange{Labels: map[string]string{image.ExtensionLabel: text}}}); err != nil {
		t.Fatal(err)
	}
	const script = "echo x >/d/x && cat /d/x; (echo x >/f/x) 2>/dev/null || echo refused; head -c 3000000 /dev/zero >/t/z 2>/dev/null || echo full"
	for name, mounts := range map[string][]api.Mount{"none given": nil, "by name": {volumeMount("v", "data"), volumeMount("w", "fixed")}} {
		if out, exit := sh(t, e, api.ContainerSpec{Image: "x", AutoRemove: true, Mounts: mounts}, script); out != "x\nrefused\nfull\n" {
			t.Errorf("%s: %q, %+v", name, out, exit)
		}
	}
	if out, _ := sh(t, e, api.ContainerSpec{AutoRemove: true, Mounts: []api.Mount{volumeMount("v", "/v")}}, "cat /v/x"); out != "x\n" {
		t.Errorf("in the volume that was given: %q", out)
	}
}

// What the kernel makes up is where the image wants it.
func TestIntegrationImageSpecialMounts(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	labelled(t, e, "x", `{"version":1,"special_mounts":["procfs","fdescfs"]}`)
	const script = "test -d /proc/$$ && echo proc; test -e /dev/fd/0 && echo fd"
	if out, exit := sh(t, e, api.ContainerSpec{Image: "x"}, script); out != "proc\nfd\n" {
		t.Errorf("%q, %+v", out, exit)
	}
}

// labelled makes an image of root that has an extension.
func labelled(t *testing.T, e api.Engine, name, text string) {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "root", Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{image.ExtensionLabel: text}
	if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: name, ConfigChange: api.ConfigChange{Labels: labels}}); err != nil {
		t.Fatal(err)
	}
	if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}
