package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// diff is what xc diff would print.
func diff(t *testing.T, e api.Engine, name string) []string {
	t.Helper()
	lines := []string{}
	err := e.DiffContainer(t.Context(), name, func(c api.Change) error {
		lines = append(lines, strings.ToUpper(c.Kind[:1])+" "+c.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// begin makes a container that has run a script, and one line of output of it.
func begin(t *testing.T, e api.Engine, image, script string) api.Container {
	t.Helper()
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: image, Command: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = e.StartContainer(t.Context(), c.ID, api.StartOptions{Stdio: api.Stdio{Stdout: w, Stderr: w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := r.Read(b); err != nil || string(b[:n]) != "ready\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	return c
}

func TestIntegrationDiffAndCommit(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for name, rest := range map[string]string{"running": "; exec sleep 1000", "stopped": ""} {
		t.Run(name, func(t *testing.T) {
			c := begin(t, e, "root", `
				set -e
				echo new > /etc/new
				mkdir /made /made/sub; echo deep > /made/sub/file
				echo changed >> /etc/passwd
				rm /etc/os-release
				rm -r /root
				ln -s /etc/new /link
				echo ready`+rest)
			if rest == "" {
				if _, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{"A /etc/new", "A /link", "A /made", "A /made/sub", "A /made/sub/file", "C /etc", "C /etc/passwd", "R /etc/os-release", "R /root"}
			got := diff(t, e, c.ID)
			got = slices.DeleteFunc(got, func(l string) bool { return l == "C /" || l == "C /etc" }) // only where directories have been rewritten
			want = slices.DeleteFunc(want, func(l string) bool { return l == "C /etc" })
			if !slices.Equal(got, want) {
				t.Errorf("%q\nwant %q", got, want)
			}
			img, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{
				Name: "mine:" + name, Author: "me", Message: "why",
				ConfigChange: api.ConfigChange{Env: []string{"FROM=commit", "MORE=x"}, WorkDir: "/made", Labels: map[string]string{"l": "v"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(img.Env, []string{"FROM=commit", "MORE=x"}) || img.WorkDir != "/made" || len(img.Layers) != 2 || !slices.Equal(img.Cmd, []string{"/bin/sh"}) {
				t.Errorf("%+v", img)
			}
			steps, err := e.ImageHistory(t.Context(), "mine:"+name)
			if err != nil || len(steps) != 2 || steps[0].Comment != "why" || steps[0].Layer != img.Layers[1] || steps[0].Author != "me" {
				t.Errorf("%+v, %v", steps, err)
			}
			out, exit := sh(t, e, api.ContainerSpec{Image: "mine:" + name}, `
				cat /etc/new sub/file; tail -n 1 /etc/passwd 2>/dev/null || sed -n '$p' /etc/passwd 2>/dev/null || true
				test -e /etc/os-release || echo gone; test -e /root || echo gone; test -L /link && echo link; echo $FROM`)
			if exit.Code != 0 || !strings.HasPrefix(out, "new\ndeep\n") || !strings.HasSuffix(out, "gone\ngone\nlink\ncommit\n") {
				t.Errorf("%q %+v", out, exit)
			}
			if err := e.RemoveContainer(t.Context(), c.ID, api.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
		})
	}
	// A container that has done nothing has changed nothing.
	c := begin(t, e, "root", "echo ready")
	if _, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := diff(t, e, c.ID); len(got) != 0 {
		t.Errorf("nothing was done, and %q", got)
	}
	if err := e.DiffContainer(t.Context(), "nothing", func(api.Change) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("diff of nothing: %v", err)
	}
	if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "a", ConfigChange: api.ConfigChange{WorkDir: "relative"}}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("relative working directory: %v", err)
	}
	if _, err := e.InspectImage(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused commit has left an image: %v", err)
	}
}

// A container is committed though its image has lost its name.
func TestIntegrationCommitOfAnImageWithoutName(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	c := begin(t, e, "root", "echo x > /x; echo ready")
	if _, err := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{}); err != nil {
		t.Fatal(err)
	}
	importTar(t, e, "root", map[string]string{"other": "image"})
	if _, err := e.PruneImages(t.Context(), api.PruneImagesOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CommitContainer(t.Context(), c.ID, api.CommitSpec{Name: "mine"}); err != nil {
		t.Fatal(err)
	}
	if out, _ := sh(t, e, api.ContainerSpec{Image: "mine"}, "cat /x"); out != "x\n" {
		t.Errorf("%q", out)
	}
}
