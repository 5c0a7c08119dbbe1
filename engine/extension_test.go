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
	jail := runtime.GOOS == "freebsd"
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
		{`{"version":1,"allow":["raw_sockets"]}`, api.ContainerSpec{}, false, fs.ErrPermission, "-o allow.raw_sockets"},
		{`{"version":1,"sysvipc":"inherit"}`, api.ContainerSpec{}, false, fs.ErrPermission, "-o sysvmsg=inherit"},
		{`{"version":1,"sysvipc":"new"}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"datasets":1}`, api.ContainerSpec{}, false, fs.ErrPermission, "--dataset"},
		{`{"version":1,"securelevel":-1}`, api.ContainerSpec{}, false, fs.ErrPermission, "-o securelevel=-1"},
		{`{"version":1,"securelevel":2}`, api.ContainerSpec{}, jail, errors.ErrUnsupported, "FreeBSD"},
		{`{"version":1,"init":[{"args":["true"]}],"deinit_timeout":3}`, api.ContainerSpec{}, true, nil, ""},
		{`{"version":1,"init":[{"args":[]}]}`, api.ContainerSpec{}, false, nil, "names no program"},
		{`{"version":1,"shutdown":[]}`, api.ContainerSpec{}, false, nil, `unknown field "shutdown"`},
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
