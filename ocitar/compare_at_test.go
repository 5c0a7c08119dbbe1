package ocitar

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func hints(hs ...Hint) iter.Seq2[Hint, error] {
	return func(yield func(Hint, error) bool) {
		for _, h := range hs {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func changes(t *testing.T, seq iter.Seq2[Change, error]) []string {
	t.Helper()
	got := map[string]bool{}
	for c, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		got[[]string{"put ", "gone ", "opaque "}[c.Kind]+c.Path] = true
	}
	return slices.Sorted(maps.Keys(got))
}

// TestCompareAt: with hints such as zfs-diff(8) gives for what was done, the changes are
// those that the whole comparison finds.
func TestCompareAt(t *testing.T) {
	base := archive(m{name: "a/b/c/f", data: "1"}, m{name: "a/b/g", data: "2"}, m{name: "d/e/h", data: "3"}, m{name: "d/i", data: "4"}, m{name: "top", data: "5"},
		m{name: "hard1", data: "6"}, m{name: "x/hard2", typ: '1', link: "hard1"}, m{name: "y/z/hard3", typ: '1', link: "hard1"}, m{name: "unseen/f", data: "7"})
	for what, c := range map[string]struct {
		do    func(j func(string) string) error
		hints []Hint
	}{
		"nothing":       {func(func(string) string) error { return nil }, nil},
		"modified":      {func(j func(string) string) error { return os.WriteFile(j("a/b/c/f"), []byte("changed"), 0o644) }, []Hint{{Path: "a/b/c/f"}}},
		"removed":       {func(j func(string) string) error { return os.Remove(j("a/b/g")) }, []Hint{{Path: "a/b/g"}, {Path: "a/b"}}},
		"removed whole": {func(j func(string) string) error { return os.RemoveAll(j("d")) }, []Hint{{Path: "d/e/h"}, {Path: "d/e"}, {Path: "d/i"}, {Path: "d"}, {Path: "."}}},
		"created": {func(j func(string) string) error {
			return errors.Join(os.MkdirAll(j("n/m"), 0o755), os.WriteFile(j("n/m/f"), nil, 0o644))
		}, []Hint{{Path: "n"}}},
		"renamed directory": {func(j func(string) string) error { return os.Rename(j("a/b"), j("d/b")) }, []Hint{{Path: "a/b", Deep: true}, {Path: "d/b", Deep: true}, {Path: "a"}, {Path: "d"}}},
		"swapped directories": {func(j func(string) string) error {
			return errors.Join(os.Rename(j("a"), j("t")), os.Rename(j("d"), j("a")), os.Rename(j("t"), j("d")))
		}, []Hint{{Path: "a", Deep: true}, {Path: "d", Deep: true}}},
		"a link more":        {func(j func(string) string) error { return os.Link(j("d/i"), j("a/i")) }, []Hint{{Path: "d/i"}, {Path: "a"}}},
		"a link less":        {func(j func(string) string) error { return os.Remove(j("x/hard2")) }, []Hint{{Path: "hard1"}, {Path: "x"}}},
		"one of three names": {func(j func(string) string) error { return os.WriteFile(j("hard1"), []byte("other"), 0o644) }, []Hint{{Path: "hard1"}}},
		"mode":               {func(j func(string) string) error { return os.Chmod(j("d/e"), 0o700) }, []Hint{{Path: "d/e"}}},
		"type": {func(j func(string) string) error {
			return errors.Join(os.RemoveAll(j("d")), os.WriteFile(j("d"), nil, 0o644), os.Remove(j("top")), os.Mkdir(j("top"), 0o755))
		}, []Hint{{Path: "d"}, {Path: "top"}}},
	} {
		t.Run(what, func(t *testing.T) {
			old, _, err := unpackInto(t, base)
			if err != nil {
				t.Fatal(err)
			}
			now, _, err := unpackInto(t, base)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(func(n string) string { return filepath.Join(now, n) }); err != nil {
				t.Fatal(err)
			}
			want, got := changes(t, Compare(old, now)), changes(t, CompareAt(old, now, hints(c.hints...)))
			if !slices.Equal(got, want) {
				t.Errorf("%q\nwant %q", got, want)
			}
			// And only there: what no hint tells is not seen.
			if err := os.WriteFile(filepath.Join(now, "unseen/f"), []byte("changed"), 0o644); err != nil {
				t.Fatal(err)
			}
			if again := changes(t, CompareAt(old, now, hints(c.hints...))); !slices.Equal(again, got) {
				t.Errorf("%q", again)
			}
		})
	}
	for _, bad := range []string{"../x", "a/../../b"} {
		for _, err := range CompareAt(t.TempDir(), t.TempDir(), hints(Hint{Path: bad})) {
			if !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	because := errors.New("because")
	for _, err := range CompareAt(t.TempDir(), t.TempDir(), func(yield func(Hint, error) bool) { yield(Hint{}, because) }) {
		if err != because {
			t.Error(err)
		}
	}
	_, err := new(Packer).Pack(context.Background(), new(bytes.Buffer), t.TempDir(), CompareAt("/nonexistent", "/", hints()))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
