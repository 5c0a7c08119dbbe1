package imagetest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image/store"
)

// Roots keeps roots in a directory. Drafts begin with a dot.
type Roots struct {
	Path    string
	Layered bool // each root has its own layer only, else all below it as copies

	mu      sync.Mutex
	Commits map[digest.Digest]int // how often each chain was committed
}

var _ store.Roots = (*Roots)(nil)

// Dir is the directory of a committed chain.
func (r *Roots) Dir(chain digest.Digest) string {
	return filepath.Join(r.Path, chain.Algorithm().String()+"-"+chain.Encoded())
}

// Has implements store.Roots.
func (r *Roots) Has(_ context.Context, chain digest.Digest) (bool, error) {
	_, err := os.Stat(r.Dir(chain))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Begin implements store.Roots.
func (r *Roots) Begin(ctx context.Context, chain, parent digest.Digest) (store.Draft, error) {
	if there, err := r.Has(ctx, chain); err != nil || there {
		return nil, errors.Join(err, fs.ErrExist)
	}
	d := &draft{r: r, chain: chain, dir: filepath.Join(r.Path, ".draft-"+chain.Encoded())}
	if err := os.RemoveAll(d.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "root"), 0o755); err != nil {
		return nil, err
	}
	if parent != "" && !r.Layered {
		if err := os.CopyFS(d.Dir(), os.DirFS(filepath.Join(r.Dir(parent), "root"))); err != nil {
			return nil, err
		}
	}
	return d, os.WriteFile(filepath.Join(d.dir, "parent"), []byte(parent), 0o644)
}

// Delete implements store.Roots.
func (r *Roots) Delete(_ context.Context, chain digest.Digest) error {
	return os.RemoveAll(r.Dir(chain))
}

// List implements store.Roots.
func (r *Roots) List(context.Context) (map[digest.Digest]digest.Digest, error) {
	entries, err := os.ReadDir(r.Path)
	if err != nil {
		return nil, err
	}
	list := map[digest.Digest]digest.Digest{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		parent, err := os.ReadFile(filepath.Join(r.Path, e.Name(), "parent"))
		if err != nil {
			return nil, err
		}
		list[digest.Digest(strings.Replace(e.Name(), "-", ":", 1))] = digest.Digest(parent)
	}
	return list, nil
}

type draft struct {
	r     *Roots
	chain digest.Digest
	dir   string
}

func (d *draft) Dir() string     { return filepath.Join(d.dir, "root") }
func (d *draft) Overlay() bool   { return d.r.Layered }
func (d *draft) Lower() []string { return nil }

func (d *draft) Commit(context.Context) error {
	d.r.mu.Lock()
	defer d.r.mu.Unlock()
	if d.r.Commits == nil {
		d.r.Commits = map[digest.Digest]int{}
	}
	d.r.Commits[d.chain]++
	return os.Rename(d.dir, d.r.Dir(d.chain))
}

func (d *draft) Abort(context.Context) error { return os.RemoveAll(d.dir) }

// Unpack is a store.Unpack that knows regular files, directories and simple
// whiteouts.
func Unpack(_ context.Context, into store.Draft, layer *os.File) (digest.Digest, error) {
	in := bufio.NewReader(layer)
	magic, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return "", err
	}
	var r io.Reader = in
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		if r, err = gzip.NewReader(in); err != nil {
			return "", err
		}
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in)
		if err != nil {
			return "", err
		}
		defer z.Close()
		r = z
	}
	digester := digest.SHA256.Digester()
	r = io.TeeReader(r, digester.Hash())
	if err := unpackTar(into.Dir(), r); err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", err
	}
	return digester.Digest(), nil
}

func unpackTar(dir string, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // only read from
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		name := path.Clean(h.Name)
		if gone, ok := strings.CutPrefix(path.Base(name), ".wh."); ok {
			if err := root.RemoveAll(path.Join(path.Dir(name), gone)); err != nil {
				return err
			}
			continue
		}
		if h.Typeflag == tar.TypeDir {
			if err := root.MkdirAll(name, 0o755); err != nil {
				return err
			}
			continue
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, archive); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
}

// Open opens images in a temporary directory, with roots that can be looked at.
func Open(t testing.TB) (*store.Images, *Roots) {
	t.Helper()
	m, roots, err := OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Blobs.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return m, roots
}

// OpenAt opens the images that are kept in a directory, names included.
func OpenAt(dir string) (*store.Images, *Roots, error) {
	blobs, err := store.Open(filepath.Join(dir, "images"))
	if err != nil {
		return nil, nil, err
	}
	roots := &Roots{Path: filepath.Join(dir, "roots")}
	if err := os.MkdirAll(roots.Path, 0o755); err != nil {
		return nil, nil, errors.Join(err, blobs.Close())
	}
	return &store.Images{Blobs: blobs, Refs: blobs.Refs(), Roots: roots, Unpack: Unpack}, roots, nil
}

// Damage changes a byte in the middle of a blob, and returns what it is then.
func Damage(t testing.TB, m *store.Images, d digest.Digest) []byte {
	t.Helper()
	path := filepath.Join(m.Blobs.Dir(), "blobs/sha256", d.Encoded())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}
