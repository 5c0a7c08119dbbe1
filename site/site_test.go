package site_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/joyboyid/xc/site"
)

// script is a world that writes down what is done to it.
type script struct {
	lines []string
	fail  map[string]error // by line
}

func (s *script) do(line string) error {
	if err := s.fail[line]; err != nil {
		s.lines = append(s.lines, line+" # "+err.Error())
		return err
	}
	s.lines = append(s.lines, line)
	return nil
}

func (s *script) table() site.Table {
	deed := func(_ context.Context, u site.Undo) error {
		var name string
		if err := json.Unmarshal(u.Data, &name); err != nil {
			return err
		}
		return s.do("un" + u.Kind + " " + name)
	}
	return site.Table{"mount": deed, "jail": deed, "clone": deed}
}

func undo(kind, name string) site.Undo {
	data, _ := json.Marshal(name)
	return site.Undo{Kind: kind, Version: 1, Data: data}
}

func (s *script) step(kind, name string) site.Step {
	return site.Step{Undo: undo(kind, name), Do: func(context.Context) error { return s.do(kind + " " + name) }}
}

func (s *script) want(t *testing.T, lines ...string) {
	t.Helper()
	if !slices.Equal(s.lines, lines) {
		t.Errorf("script:\n%s\nwant:\n%s", strings.Join(s.lines, "\n"), strings.Join(lines, "\n"))
	}
}

func pending(t *testing.T, s *site.Stack) string {
	t.Helper()
	undos, err := s.Pending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, u := range undos {
		words = append(words, u.Kind+" "+strings.Trim(string(u.Data), `"`))
	}
	return strings.Join(words, ", ")
}

var errBusy = errors.New("busy")

func TestAcquireThenUnwind(t *testing.T) {
	w := &script{}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	err := s.Run.Acquire(t.Context(), []site.Step{w.step("jail", "j"), w.step("mount", "dev"), w.step("mount", "proc")})
	if err != nil {
		t.Fatal(err)
	}
	if got := pending(t, s.Run); got != "jail j, mount dev, mount proc" {
		t.Errorf("pending: %s", got)
	}
	for range 2 { // the second has nothing to do
		if err := s.Run.Unwind(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.want(t, "jail j", "mount dev", "mount proc", "unmount proc", "unmount dev", "unjail j")
}

func TestAcquireFailureUnwindsTheStack(t *testing.T) {
	w := &script{fail: map[string]error{"mount proc": errBusy}}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	if err := s.Held.Acquire(t.Context(), []site.Step{w.step("clone", "root")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	last := w.step("mount", "proc")
	do := last.Do
	last.Do = func(ctx context.Context) error { cancel(); return do(ctx) }
	err := s.Run.Acquire(ctx, []site.Step{w.step("jail", "j"), w.step("mount", "dev"), last, w.step("mount", "sys")})
	if !errors.Is(err, errBusy) || err.Error() != "site c1: run: acquire mount: busy" {
		t.Errorf("error: %v", err)
	}
	// All planned undos run, also of what was never acquired; the held stack stays.
	w.want(t, "clone root", "jail j", "mount dev", "mount proc # busy",
		"unmount sys", "unmount proc", "unmount dev", "unjail j")
	if got := pending(t, s.Run); got != "" {
		t.Errorf("run: %s", got)
	}
	if got := pending(t, s.Held); got != "clone root" {
		t.Errorf("held: %s", got)
	}
}

func TestAcquireReportsWhatCouldNotBeUndone(t *testing.T) {
	w := &script{fail: map[string]error{"mount dev": os.ErrPermission, "unjail j": errBusy}}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	err := s.Run.Acquire(t.Context(), []site.Step{w.step("jail", "j"), w.step("mount", "dev")})
	if !errors.Is(err, os.ErrPermission) || !errors.Is(err, errBusy) {
		t.Errorf("error: %v", err)
	}
	if got := pending(t, s.Run); got != "jail j" {
		t.Errorf("pending: %s", got)
	}
}

func TestUnwindGoesOnAndKeepsFailures(t *testing.T) {
	w := &script{fail: map[string]error{"unmount dev": errBusy}}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	err := s.Run.Plan(t.Context(), undo("jail", "j"), undo("quantum", "q"), undo("mount", "dev"), undo("mount", "proc"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Push(t.Context(), undo("mount", "late")); err != nil {
		t.Fatal(err)
	}
	err = s.Run.Unwind(t.Context())
	if !errors.Is(err, errBusy) || !errors.Is(err, site.ErrUnknownKind) || !strings.Contains(err.Error(), "undo quantum") {
		t.Errorf("error: %v", err)
	}
	w.want(t, "unmount late", "unmount proc", "unmount dev # busy", "unjail j")
	if got := pending(t, s.Run); got != "quantum q, mount dev" {
		t.Errorf("pending: %s", got)
	}
	w.fail = nil
	if err := s.Run.Unwind(t.Context()); !errors.Is(err, site.ErrUnknownKind) || errors.Is(err, errBusy) {
		t.Errorf("second unwind: %v", err)
	}
	if got := pending(t, s.Run); got != "quantum q" {
		t.Errorf("an unknown kind must stay: %s", got)
	}
}

func TestSiteUnwindKeepsTheGroundOfWhatIsLeft(t *testing.T) {
	w := &script{fail: map[string]error{"unmount dev": errBusy}}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	if err := errors.Join(s.Held.Plan(t.Context(), undo("clone", "root")), s.Run.Plan(t.Context(), undo("mount", "dev"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Unwind(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("error: %v", err)
	}
	w.fail = nil
	if err := s.Unwind(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want(t, "unmount dev # busy", "unmount dev", "unclone root")
}

func TestUnwindStopsWhenContextEnds(t *testing.T) {
	w := &script{}
	table := w.table()
	ctx, cancel := context.WithCancel(t.Context())
	mount := table["mount"]
	table["mount"] = func(ctx context.Context, u site.Undo) error { cancel(); return mount(ctx, u) }
	s := site.New("c1", &site.MemoryJournal{}, table)
	if err := s.Run.Plan(ctx, undo("jail", "j"), undo("mount", "dev")); err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Unwind(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if got := pending(t, s.Run); got != "jail j" {
		t.Errorf("pending: %s", got)
	}
}

// fullJournal refuses to append.
type fullJournal struct{ site.MemoryJournal }

func (*fullJournal) Append(context.Context, string, string, []site.Undo) ([]site.Entry, error) {
	return nil, errBusy
}

func TestNothingIsAcquiredUnplanned(t *testing.T) {
	w := &script{}
	s := site.New("c1", &fullJournal{}, w.table())
	if err := s.Run.Acquire(t.Context(), []site.Step{w.step("jail", "j")}); !errors.Is(err, errBusy) {
		t.Errorf("error: %v", err)
	}
	w.want(t)
}

func TestTracePoints(t *testing.T) {
	w := &script{}
	s := site.New("c1", &site.MemoryJournal{}, w.table())
	var got []string
	s.Trace = func(point string) { got = append(got, point) }
	if err := s.Run.Acquire(t.Context(), []site.Step{w.step("jail", "j"), w.step("mount", "dev")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Unwind(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"run plan before", "run plan after",
		"run do 1 jail before", "run do 1 jail after", "run do 2 mount before", "run do 2 mount after",
		"run undo 2 mount before", "run undo 2 mount done", "run undo 2 mount after",
		"run undo 1 jail before", "run undo 1 jail done", "run undo 1 jail after",
	}
	if !slices.Equal(got, want) || !slices.Equal(s.Run.Points("jail", "mount"), want) {
		t.Errorf("points:\n%s\nannounced:\n%s", strings.Join(got, "\n"), strings.Join(s.Run.Points("jail", "mount"), "\n"))
	}
}

func TestMemoryJournal(t *testing.T) {
	var j site.MemoryJournal
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("s%d", i)
			e, err := j.Append(t.Context(), name, site.Run, []site.Undo{undo("jail", "a"), undo("jail", "b")})
			if err != nil || len(e) != 2 || e[0].ID >= e[1].ID {
				t.Errorf("append: %v %v", e, err)
				return
			}
			for range 2 { // dropping a missing entry succeeds
				if err := j.Drop(t.Context(), e[0].ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if sites, err := j.Sites(t.Context()); err != nil || len(sites) != 8 {
		t.Errorf("sites: %v %v", sites, err)
	}
	e, err := j.Entries(t.Context(), "s3", site.Run)
	if err != nil || len(e) != 1 || string(e[0].Undo.Data) != `"b"` {
		t.Errorf("entries: %v %v", e, err)
	}
	if e, _ := j.Entries(t.Context(), "s3", site.Held); len(e) != 0 {
		t.Errorf("stacks are mixed: %v", e)
	}
}

func Example() {
	table := site.Table{"dir": func(_ context.Context, u site.Undo) error {
		var path string
		if err := json.Unmarshal(u.Data, &path); err != nil {
			return err
		}
		fmt.Println("rmdir", path)
		return nil // succeeds also when there is no such directory
	}}
	s := site.New("c1", &site.MemoryJournal{}, table)
	ctx := context.Background()
	err := s.Run.Acquire(ctx, []site.Step{
		{Undo: site.Undo{Kind: "dir", Version: 1, Data: json.RawMessage(`"/a"`)},
			Do: func(context.Context) error { fmt.Println("mkdir /a"); return nil }},
		{Undo: site.Undo{Kind: "dir", Version: 1, Data: json.RawMessage(`"/a/b"`)},
			Do: func(context.Context) error { fmt.Println("mkdir /a/b"); return os.ErrPermission }},
	})
	fmt.Println(err)
	// Output:
	// mkdir /a
	// mkdir /a/b
	// rmdir /a/b
	// rmdir /a
	// site c1: run: acquire dir: permission denied
}
