package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/joyboyid/xc/engine/store"
	"github.com/joyboyid/xc/site"
)

func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t testing.TB) *store.Store { return open(t, filepath.Join(t.TempDir(), "xc.sqlite")) }

func undos(n int) []site.Undo {
	var list []site.Undo
	for i := range n {
		list = append(list, site.Undo{Kind: "mount", Version: 2, Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
	}
	return list
}

func TestTagIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	seen := map[string]bool{}
	for range 3 {
		s, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		seen[s.Tag()] = true
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for tag := range seen {
		if len(tag) != 6 || tag[0] < 'a' || tag[0] > 'z' || strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("tag %q is not six base32 characters, a letter first", tag)
		}
	}
	if len(seen) != 1 {
		t.Errorf("the tag changed: %v", seen)
	}
	if other := fresh(t).Tag(); seen[other] {
		t.Errorf("two databases have the tag %s", other)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("database: %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestJournal(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	s := open(t, path)
	run, err := s.Append(ctx, "a", site.Run, undos(3))
	if err != nil {
		t.Fatal(err)
	}
	held, err := s.Append(ctx, "a", site.Held, []site.Undo{{Kind: "root"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, "b", site.Run, undos(1)); err != nil {
		t.Fatal(err)
	}
	if run[0].ID >= run[1].ID || run[1].ID >= run[2].ID || run[2].ID >= held[0].ID {
		t.Errorf("ids do not grow: %v %v", run, held)
	}
	if got, err := s.Append(ctx, "c", site.Run, nil); got != nil || err != nil {
		t.Errorf("appending nothing: %v, %v", got, err)
	}
	for range 2 { // the second time nothing is there to drop
		if err := s.Drop(ctx, run[1].ID); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *store.Store) {
		t.Helper()
		for stack, want := range map[string][]site.Entry{site.Run: {run[0], run[2]}, site.Held: held, "other": nil} {
			got, err := s.Entries(ctx, "a", stack)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("entries of %s: %v, %v; want %v", stack, got, err, want)
			}
		}
		got, err := s.Sites(ctx)
		if err != nil || !reflect.DeepEqual(got, []string{"a", "b"}) {
			t.Errorf("sites: %v, %v", got, err)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, path))
}

func TestJournalIDsAreNotReused(t *testing.T) {
	ctx := t.Context()
	s := fresh(t)
	var last int64
	for range 3 {
		e, err := s.Append(ctx, "a", site.Run, undos(1))
		if err != nil {
			t.Fatal(err)
		}
		if e[0].ID <= last {
			t.Errorf("id %d after %d", e[0].ID, last)
		}
		last = e[0].ID
		if err := s.Drop(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
}

func container(id, name string, at int) store.Container {
	return store.Container{
		ID: id, Name: name, Created: time.Unix(int64(at), 5).UTC(),
		Spec: json.RawMessage(`{"image":"alpine"}`), State: json.RawMessage(`{"state":"created"}`),
	}
}

func TestContainers(t *testing.T) {
	ctx := t.Context()
	s := fresh(t)
	web, db, www := container("cab3", "web", 1), container("cab4", "db", 3), container("dxyz", "cab", 2)
	for _, c := range []store.Container{web, db, www} {
		if err := s.CreateContainer(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, taken := range []store.Container{
		container("cab3", "new", 9), container("enew", "web", 9),
		container("web", "new", 9), container("enew", "cab4", 9), // an id that is a name would hide it
	} {
		if err := s.CreateContainer(ctx, taken); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create %s %s: %v, want ErrExist", taken.ID, taken.Name, err)
		}
	}
	if err := s.CreateContainer(ctx, store.Container{ID: "x"}); err == nil {
		t.Error("a container without a name was recorded")
	}
	for name, want := range map[string]store.Container{
		"web": web, "cab3": web, "cab": www /* a name comes before a prefix */, "d": www, "db": db,
	} {
		got, err := s.Container(ctx, name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("container %q: %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, name := range []string{"", "nope", "cab5", "%", "c_b3", "webb", "d\x7f"} {
		if _, err := s.Container(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("container %q: %v, want ErrNotExist", name, err)
		}
	}
	_, err := s.Container(ctx, "ca")
	if !errors.Is(err, store.ErrAmbiguous) || !strings.Contains(err.Error(), "cab3 (web) or cab4 (db)") {
		t.Errorf("ambiguous prefix: %v", err)
	}
	list, err := s.Containers(ctx)
	if want := []store.Container{db, www, web}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("list: %v, %v; want newest first", list, err)
	}
}

func TestContainerUpdateAndRemove(t *testing.T) {
	ctx := t.Context()
	s := fresh(t)
	c := container("cab3", "web", 1)
	if err := s.CreateContainer(ctx, c); err != nil {
		t.Fatal(err)
	}
	c.State = json.RawMessage(`{"state":"exited"}`)
	if err := s.UpdateContainer(ctx, c.ID, c.State, true); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Container(ctx, "web"); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("after the update: %+v, %v", got, err)
	}
	for range 2 {
		if err := s.RemoveContainer(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.UpdateContainer(ctx, c.ID, nil, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("update of a removed container: %v", err)
	}
	if err := s.CreateContainer(ctx, c); err != nil {
		t.Errorf("the name is not free again: %v", err)
	}
}

func TestRefs(t *testing.T) {
	ctx := t.Context()
	r := fresh(t).Refs()
	first := ispec.Descriptor{
		MediaType: ispec.MediaTypeImageManifest, Digest: digest.FromString("1"), Size: 7,
		Platform:    &ispec.Platform{OS: "freebsd", Architecture: "arm64", OSVersion: "14.3"},
		Annotations: map[string]string{"k": "v"},
	}
	second := ispec.Descriptor{MediaType: ispec.MediaTypeImageManifest, Digest: digest.FromString("2"), Size: 8}
	const name = "docker.io/library/alpine:latest"
	if _, err := r.Resolve(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	for _, d := range []ispec.Descriptor{first, second, first} {
		if err := r.Put(ctx, name, d); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Resolve(ctx, name); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("resolve: %+v, %v; want %+v", got, err, d)
		}
	}
	if err := r.Put(ctx, "localhost/b:1", second); err != nil {
		t.Fatal(err)
	}
	got, err := r.List(ctx)
	if want := map[string]ispec.Descriptor{name: first, "localhost/b:1": second}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("list: %v, %v; want %v", got, err, want)
	}
	if err := r.Delete(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second delete: %v", err)
	}
}

func TestClosed(t *testing.T) {
	s := fresh(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err1 := s.Append(ctx, "a", site.Run, undos(1))
	_, err2 := s.Entries(ctx, "a", site.Run)
	_, err3 := s.Containers(ctx)
	for i, err := range []error{err1, err2, err3, s.RemoveContainer(ctx, "a")} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
}

func TestCancelledContext(t *testing.T) {
	s := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, "a", site.Run, undos(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if sites, err := s.Sites(t.Context()); err != nil || len(sites) > 0 {
		t.Errorf("sites: %v, %v", sites, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	ctx := t.Context()
	s := fresh(t)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			id := fmt.Sprintf("c%d", g)
			for range 20 {
				e, err := s.Append(ctx, id, site.Run, undos(3))
				if err == nil {
					err = s.Drop(ctx, e[0].ID)
				}
				if err == nil {
					_, err = s.Entries(ctx, id, site.Run)
				}
				if err == nil {
					err = s.CreateContainer(ctx, container(id, "n"+id, g))
				}
				if err == nil {
					_, err = s.Container(ctx, "n"+id)
				}
				if err == nil {
					err = s.RemoveContainer(ctx, id)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for g := range 8 {
		if e, err := s.Entries(ctx, fmt.Sprintf("c%d", g), site.Run); err != nil || len(e) != 40 {
			t.Errorf("site c%d has %d entries, %v; want 40", g, len(e), err)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	exec := func(q string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(sqlitex.ExecuteScript(conn, q, nil), conn.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  error
		text  string
	}{
		"another file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database. ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt, "not a database"},
		"another program's": {exec("PRAGMA application_id = 1"), store.ErrCorrupt, "application id"},
		"newer":             {exec("PRAGMA user_version = 999"), store.ErrNewer, "version 999"},
		"damaged": {func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 4096; i < len(b); i++ {
				b[i] = 0xa5
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt, "move it away"},
		"spoilt tag": {exec("UPDATE meta SET value = '../../x' WHERE key = 'tag'"), store.ErrCorrupt, "tag"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "xc.sqlite")
			s, err := store.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, path)
			_, err = store.Open(path)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("open: %v; want %v, with %q and the path", err, c.want, c.text)
			}
		})
	}
}

func TestUnreadableDirectory(t *testing.T) {
	_, err := store.Open(filepath.Join(t.TempDir(), "missing", "xc.sqlite"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open in a missing directory: %v", err)
	}
}

// Of ends the newest thousand are remembered.
func TestExitsAreForgotten(t *testing.T) {
	s, ctx, n := fresh(t), t.Context(), 1003
	id := func(i int) string { return fmt.Sprintf("c%011d", i) }
	for i := range n {
		if err := s.CreateContainer(ctx, container(id(i), fmt.Sprint("name", i), i)); err != nil {
			t.Fatal(err)
		}
		if err := s.EndContainer(ctx, id(i), json.RawMessage("{}"), json.RawMessage(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		exit, err := s.Exit(ctx, id(i))
		if i < 3 && !errors.Is(err, fs.ErrNotExist) || i >= 3 && (err != nil || string(exit) != fmt.Sprint(i)) {
			t.Fatal(i, string(exit), err)
		}
	}
}
