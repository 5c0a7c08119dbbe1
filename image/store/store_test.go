package store_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/umoci/oci/cas/dir"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func describe(b []byte, alg digest.Algorithm) ispec.Descriptor {
	return ispec.Descriptor{MediaType: "text/plain", Digest: alg.FromBytes(b), Size: int64(len(b))}
}

func files(t testing.TB, parts ...string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, path)
	if _, err := store.Open(path); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second Open: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(path, "ingest", "tmp-debris"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	closeStore(t, s)
	// Killed while it was made: what is missing is made, what is there stays.
	if err := os.Remove(filepath.Join(path, "oci-layout")); err != nil {
		t.Fatal(err)
	}
	closeStore(t, open(t, path))
	if left := files(t, path, "ingest", "*"); len(left) != 0 {
		t.Errorf("debris: %v", left)
	}
	engine, err := dir.Open(path) // umoci as the judge of the layout
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
}

func TestStaging(t *testing.T) {
	content := []byte(strings.Repeat("content ", 10_000))
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		path := t.TempDir()
		s := open(t, path)
		desc := describe(content, alg)
		g, err := s.Stage(desc)
		if err != nil || g.Offset() != 0 {
			t.Fatalf("%d, %v", g.Offset(), err)
		}
		if _, err := s.Stage(desc); !errors.Is(err, store.ErrBusy) {
			t.Errorf("second Stage: %v", err)
		}
		if _, err := g.Write(content[:30_000]); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(desc.Digest); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("visible before it was verified: %v", err)
		}
		// Given up, and found again by the next process.
		if err := errors.Join(g.Close(), g.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = open(t, path)
		if g, err = s.Stage(desc); err != nil || g.Offset() != 30_000 {
			t.Fatalf("resumed at %d, %v", g.Offset(), err)
		}
		if _, err := g.Write(content[30_000:]); err != nil {
			t.Fatal(err)
		}
		if err := g.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := g.Commit(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("second Commit: %v", err)
		}
		if _, err := s.Stage(desc); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Stage of what is there: %v", err)
		}
		b, err := s.Read(desc, desc.Size)
		if err != nil || !bytes.Equal(b, content) {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
		if _, err := s.Read(desc, desc.Size-1); err == nil {
			t.Error("read more than the limit")
		}
		if left := files(t, path, "ingest", "*"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestStagingRefusesFalseContent(t *testing.T) {
	desc := describe([]byte("expected"), digest.SHA256)
	for name, test := range map[string]struct {
		write string
		kept  bool
	}{
		"digest": {"EXPECTED", false},
		"long":   {"expected and more", true}, // refused by Write, so what was right stays
		"short":  {"expec", true},
	} {
		path := t.TempDir()
		s := open(t, path)
		g, err := s.Stage(desc)
		if err != nil {
			t.Fatal(err)
		}
		_, writeErr := g.Write([]byte(test.write))
		err = errors.Join(writeErr, g.Commit())
		var mismatch *image.MismatchError
		if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), mismatch.Want) || !strings.Contains(err.Error(), mismatch.Got) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Stat(desc.Digest); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if left := files(t, path, "ingest", "*"); (len(left) > 0) != test.kept {
			t.Errorf("%s: left %v", name, left)
		}
		if g, err = s.Stage(desc); err != nil { // nothing stays locked
			t.Errorf("%s: %v", name, err)
		} else if err := g.Discard(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What lies in ingest is not believed: not its content, nor its length.
func TestStagingOfForeignPartial(t *testing.T) {
	content := []byte("expected")
	desc := describe(content, digest.SHA256)
	path := t.TempDir()
	s := open(t, path)
	partial := filepath.Join(path, "ingest", "sha256-"+desc.Digest.Encoded())
	if err := os.WriteFile(partial, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := s.Stage(desc)
	if err != nil || g.Offset() != 0 {
		t.Fatalf("longer than the blob: offset %d, %v", g.Offset(), err)
	}
	if _, err := g.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := g.Commit(); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Read(desc, 100); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestStoreRefusesStrangeDigests(t *testing.T) {
	s := open(t, t.TempDir())
	for _, d := range []digest.Digest{
		"", "sha256:", "sha256:../../../../etc/passwd", "md5:d41d8cd98f00b204e9800998ecf8427e",
		"sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
		digest.Digest("sha256:" + strings.Repeat("A", 64)),
	} {
		_, statErr := s.Stat(d)
		_, openErr := s.Open(d)
		_, stageErr := s.Stage(ispec.Descriptor{Digest: d})
		for _, err := range []error{statErr, openErr, stageErr, s.Delete(d)} {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", d, err)
			}
		}
	}
}

func TestIngest(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	desc, err := s.Ingest(t.Context(), nil, "text/plain", strings.NewReader("content"))
	if err != nil || desc.Digest != digest.FromString("content") || desc.Size != 7 {
		t.Fatalf("%+v, %v", desc, err)
	}
	broken := io.MultiReader(strings.NewReader("x"), errReader{})
	if _, err := s.Ingest(t.Context(), nil, "text/plain", broken); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
	if left := files(t, path, "ingest", "*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	n := 0
	for b, err := range s.Blobs() {
		if n++; err != nil || b.Digest != desc.Digest || b.Size != 7 {
			t.Errorf("%+v, %v", b, err)
		}
	}
	if n != 1 {
		t.Errorf("%d blobs", n)
	}
	if err := errors.Join(s.Delete(desc.Digest), s.Delete(desc.Digest)); err != nil {
		t.Error(err)
	}
}

var errBroken = errors.New("broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

func TestRefs(t *testing.T) {
	for name, refs := range map[string]store.Refs{
		"memory": &store.MemoryRefs{},
		"index":  open(t, t.TempDir()).Refs(),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			a, b := describe([]byte("a"), digest.SHA256), describe([]byte("b"), digest.SHA256)
			b.Annotations = map[string]string{store.AnnotationIndex: "sha256:x"}
			b.Platform = &ispec.Platform{OS: "freebsd", Architecture: "amd64"}
			_, missing := refs.Resolve(ctx, "[::1]:5000/x:y")
			if !errors.Is(missing, fs.ErrNotExist) || !errors.Is(refs.Delete(ctx, "no"), fs.ErrNotExist) {
				t.Errorf("%v", missing)
			}
			for _, d := range []ispec.Descriptor{a, b} { // the second moves the name
				if err := refs.Put(ctx, "[::1]:5000/x:y", d); err != nil {
					t.Fatal(err)
				}
			}
			if err := refs.Put(ctx, "docker.io/library/a__b:1", a); err != nil {
				t.Fatal(err)
			}
			got, err := refs.Resolve(ctx, "[::1]:5000/x:y")
			if err != nil || got.Digest != b.Digest || got.Platform.OS != "freebsd" || len(got.Annotations) != 1 {
				t.Errorf("%+v, %v", got, err)
			}
			list, err := refs.List(ctx)
			if err != nil || len(list) != 2 || list["docker.io/library/a__b:1"].Digest != a.Digest {
				t.Errorf("%v, %v", list, err)
			}
			if err := refs.Delete(ctx, "docker.io/library/a__b:1"); err != nil {
				t.Error(err)
			}
			if list, err := refs.List(ctx); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}

func TestIndexRefsSurvive(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	if err := s.Refs().Put(t.Context(), "x", describe([]byte("a"), digest.SHA256)); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	if _, err := open(t, path).Refs().Resolve(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}
