package engine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// chosen are the names of containers that fit filters, in the order of their names.
func chosen(t *testing.T, e api.Engine, all bool, filters ...string) string {
	t.Helper()
	list, err := e.ListContainers(t.Context(), api.ListOptions{All: all, Filters: filters})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestIntegrationContainerFilters(t *testing.T) {
	e := testEngine(t)
	defer removeNetworks(t, e)
	ctx := t.Context()
	root := importRoot(t, e, "root")
	lan := createNetwork(t, e, twoFamilies("lan", "4"))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	web := running(t, e, api.ContainerSpec{
		Name: "web", Image: "root", Command: []string{"sleep", "1000"}, Labels: map[string]string{"tier": "front", "team": "a"},
		Networks: []api.Attachment{{Network: "lan"}}, Mounts: []api.Mount{volumeMount("data", "/var/data")},
	})
	_, err := e.CommitContainer(ctx, "web", api.CommitSpec{Name: "child:1"})
	must(err)
	must(e.TagImage(ctx, "child:1", "child:other"))
	done := start(t, e, api.ContainerSpec{Name: "my.web", Image: "child:1", Labels: map[string]string{"tier": "back", "team": "a"}, Command: []string{"sh", "-c", "exit 3"}})
	_, err = e.WaitContainer(ctx, "my.web", api.WaitOptions{})
	must(err)
	dir := t.TempDir()
	_, err = e.CreateContainer(ctx, api.ContainerSpec{Name: "new", Rootfs: dir, Command: []string{"true"}, Mounts: []api.Mount{{Type: api.MountTmpfs, Destination: "/var/data"}}})
	must(err)
	_, err = e.CreateContainer(ctx, api.ContainerSpec{Name: "fails", Image: "root", Command: []string{"nosuch"}, Networks: []api.Attachment{{Network: "lan"}}})
	must(err)
	if err := e.StartContainer(ctx, "fails", api.StartOptions{}); !errors.Is(err, api.ErrCommandNotFound) {
		t.Error(err)
	}
	// The name is another image's by now, which is no ancestor of those before.
	must(e.TagImage(ctx, "root", "base"))
	importTar(t, e, "root", map[string]string{"other": "image"})

	for _, tc := range []struct{ filters, want, all string }{
		{"", "web", "fails my.web new web"},
		{"id=" + web.ID, "web", "web"},
		{"id=" + web.ID[:5] + " id=" + done.ID, "web", "my.web web"},
		{"id=" + web.ID[1:], "", ""},
		{"name=web", "web", "my.web web"},
		{"name=^web$", "web", "web"}, {"name=^/web$", "web", "web"}, {"name=^w name=new", "web", "new web"},
		{"label=team", "web", "my.web web"}, {"label=tier=front", "web", "web"}, {"label=tier=", "", ""},
		{"label=team=a label=tier=back", "", "my.web"}, // both
		{"status=exited", "fails my.web", "fails my.web"}, {"status=created status=running", "new web", "new web"},
		{"status=running name=my", "", ""},
		{"status=paused", "", ""}, {"status=restarting status=removing status=dead", "", ""}, {"status=paused status=created", "new", "new"},
		{"exited=3", "my.web", "my.web"}, {"exited=0", "", ""}, {"exited=127 exited=3", "fails my.web", "fails my.web"},
		{"ancestor=base", "web", "fails my.web web"}, {"ancestor=" + root.ID, "web", "fails my.web web"}, {"ancestor=" + root.Digest[7:20], "web", "fails my.web web"},
		{"ancestor=root", "web", "fails web"}, // what they show
		{"ancestor=child:1", "", "my.web"}, {"ancestor=child:other", "", "my.web"}, {"ancestor=child", "", ""},
		{"network=lan", "web", "fails web"}, {"network=" + lan.ID, "web", "fails web"}, {"network=none", "", "my.web new"}, {"network=host", "", ""},
		{"volume=data", "web", "web"}, {"volume=/var/data/", "web", "new web"}, {"volume=/var", "", ""},
		{"before=my.web", "web", "web"}, {"since=my.web", "", "fails new"}, {"since=web before=fails", "", "my.web new"},
	} {
		for all, want := range map[bool]string{false: tc.want, true: tc.all} {
			if got := chosen(t, e, all, strings.Fields(tc.filters)...); got != want {
				t.Errorf("%s, all %v: %q, want %q", tc.filters, all, got, want)
			}
		}
	}
	refused(t, map[string]string{
		"color=red": "the keys are id, name, label, status, exited, ancestor, network, volume, before and since", "name": "expected KEY=VALUE", "=x": "the keys are", "id=": "KEY=VALUE",
		"status=stopped": "a container is created, or running, or exited", "exited=-1": "0 to 255", "exited=256": "0 to 255", "name=[": "missing closing ]",
		"ancestor=A:B:C": "reference",
	}, func(filter string) error {
		_, err := e.ListContainers(ctx, api.ListOptions{Filters: []string{filter}})
		return err
	})
	if _, err := e.ListContainers(ctx, api.ListOptions{Filters: []string{"before=nobody"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := e.ListContainers(ctx, api.ListOptions{Filters: slices.Repeat([]string{"id=x"}, 101)}); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

// refused tries filters, and compares with what is said of each.
func refused(t *testing.T, filters map[string]string, try func(filter string) error) {
	t.Helper()
	for filter, says := range filters {
		if err := try(filter); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), fmt.Sprintf("filter %q: ", filter)) {
			t.Errorf("%s: %v, want %s", filter, err, says)
		}
	}
}

func TestIntegrationImageFilters(t *testing.T) {
	needRoot(t)
	c := config(shortTempDir(t))
	c.Search = []string{"docker.io", "reg.example/team"}
	e, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer closeClean(t, e)
	ctx := t.Context()
	for i, name := range []string{"app:1", "lib/app:1", "reg.example/team/tool:2"} {
		importTar(t, e, name, map[string]string{"n": fmt.Sprint(i)})
	}
	for _, name := range []string{"app:2", "other"} {
		if err := e.TagImage(ctx, "app:1", name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "c", Image: "lib/app:1", Command: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CommitContainer(ctx, "c", api.CommitSpec{Name: "made", ConfigChange: api.ConfigChange{Labels: map[string]string{"tier": "db", "team": "a"}}}); err != nil {
		t.Fatal(err)
	}
	for filters, want := range map[string]string{
		"":              "app:1 app:2 lib/app:1 made:latest other:latest reg.example/team/tool:2",
		"reference=app": "app:1 app:2", "reference=app:2": "app:2", "reference=docker.io/library/app:2": "app:2", "reference=docker.io/lib/app": "lib/app:1",
		"reference=*": "app:1 app:2 made:latest other:latest", "reference=*/app": "lib/app:1", "reference=[a-m]*:[^2]*": "app:1 made:latest", "reference=app:3": "",
		"reference=tool": "reg.example/team/tool:2", "reference=reg.example/*/tool": "reg.example/team/tool:2", "reference=t*:2": "",
		"reference=other reference=app:1": "app:1 other:latest",
		"label=tier":                      "made:latest", "label=tier=db label=team=a": "made:latest", "label=tier=db label=team=b": "",
		"dangling=true": "", "dangling=false reference=app:1": "app:1",
		"since=app:1": "lib/app:1 made:latest reg.example/team/tool:2", "before=lib/app:1": "app:1 app:2 other:latest", "before=made since=lib/app:1": "reg.example/team/tool:2",
	} {
		list, err := e.ListImages(ctx, api.ListImagesOptions{Filters: strings.Fields(filters)})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, img := range list {
			for _, n := range img.Names {
				names = append(names, strings.TrimPrefix(strings.TrimPrefix(n, "docker.io/"), "library/"))
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", filters, got, want)
		}
	}
	refused(t, map[string]string{
		"name=x": "the keys are reference, label, dangling, before and since", "label": "KEY=VALUE", "dangling=maybe": "expected true or false", "reference=[": "syntax error in pattern",
		"since=nothing": "nothing",
	}, func(filter string) error {
		_, err := e.ListImages(ctx, api.ListImagesOptions{Filters: []string{filter}})
		return err
	})
}
