// Package dirstore keeps root file systems in directories, for where there is
// no ZFS: unpacked image layers, and the roots of containers made of them.
//
// Words:
//
//   - A chain is a stack of verified image layers, named by its chain id
//     ("sha256:…", image-spec, config.md, "Layer ChainID"). Its parent is the
//     stack without the topmost layer.
//   - A draft is a chain in the making. Commit makes it a layer by one rename;
//     everything before is debris that Begin, Abort or Sweep removes.
//   - A root belongs to one container and may be written.
//   - The [Mode] of a store is chosen when it is made. With [Overlay] a layer
//     is a directory with what that layer changes, in overlayfs's form, and a
//     root is an empty upper directory: making one costs nothing. With [Reflink]
//     and [Copy] each layer and each root is a complete tree, cloned from the
//     one below; files share their blocks where the file system can.
//
// One story:
//
//	s, err := dirstore.Open("/var/db/xc/roots", nil)
//	d, err := s.Begin(ctx, chain, parent)
//	… unpack the layer into d.Dir(), as d.Overlay() asks …
//	err = d.Commit(ctx)
//	err = s.Create(ctx, "c4f7kq2mznpa", chain)
//	l, err := s.Layout("c4f7kq2mznpa")          // what to mount, or where it is
//	err = s.Remove(ctx, "c4f7kq2mznpa")
//
// A store is used by one process at a time, by many goroutines at once. Below
// its directory:
//
//	mode                     the mode, so that it never changes
//	layers/SHORT/chain       JSON: chain, parent, the layers below
//	layers/SHORT/d           the layer's directory or tree
//	roots/ID/chain           symbolic link whose target is the SHORT of its chain
//	roots/ID/{u,w} or d      upper and work directory, or the tree
//	drafts, trash            what is being made and being removed
package dirstore

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Mode is how a store shares what layers have in common.
type Mode string

// Modes, best first.
const (
	Overlay Mode = "overlayfs" // layers are stacked by overlayfs (Linux)
	Reflink Mode = "reflink"   // trees, whose files share blocks (btrfs, xfs)
	Copy    Mode = "copy"      // trees
)

// Options of a store. Nil and the zero value are fine.
type Options struct {
	// Mode of a store that is made anew; the best that works there when empty.
	// It has to agree with that of an existing store.
	Mode Mode
}

// Names below the directory of a store.
const (
	modeName   = "mode"
	layersName = "layers"
	rootsName  = "roots"
	draftsName = "drafts"
	trashName  = "trash"

	chainName = "chain"
	treeName  = "d"
	upperName = "u"
	workName  = "w"
)

// Store is a directory of layers and roots.
type Store struct {
	dir  string // absolute
	mode Mode

	mu     sync.Mutex
	pinned map[string]int // short names of layers that are being used
}

// Open opens the store in dir, or makes one. The programs in its roots may be
// setuid, so dir is closed to everyone but its owner.
func Open(dir string, opt *Options) (*Store, error) {
	s, err := open(dir, opt)
	if err != nil {
		return nil, fmt.Errorf("open directory store %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, opt *Options) (*Store, error) {
	if opt == nil {
		opt = &Options{}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"", layersName, rootsName, draftsName, trashName} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
		if name == "" {
			Spread(dir)
		}
	}
	s := &Store{dir: dir, pinned: map[string]int{}}
	b, err := os.ReadFile(filepath.Join(dir, modeName))
	switch {
	case err == nil:
		s.mode = Mode(strings.TrimSpace(string(b)))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		if s.mode = opt.Mode; s.mode == "" {
			if s.mode, err = Probe(dir); err != nil {
				return nil, err
			}
		}
		if err := writeDurably(dir, modeName, []byte(s.mode+"\n")); err != nil {
			return nil, err
		}
	}
	if s.mode != Overlay && s.mode != Reflink && s.mode != Copy {
		return nil, fmt.Errorf("its mode is %q, which this program does not know", s.mode)
	}
	if opt.Mode != "" && opt.Mode != s.mode {
		return nil, fmt.Errorf("its mode is %s, not %s: a store keeps the mode it was made with", s.mode, opt.Mode)
	}
	return s, nil
}

// Mode is how the store shares what layers have in common.
func (s *Store) Mode() Mode { return s.mode }

// Probe tells the best mode that works in a directory, by trying it there.
// Nothing stays behind, and nothing becomes visible meanwhile.
func Probe(dir string) (mode Mode, err error) {
	tmp, err := os.MkdirTemp(dir, ".probe-")
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", dir, err)
	}
	defer func() {
		if e := os.RemoveAll(tmp); err == nil {
			err = e
		}
	}()
	switch {
	case probeOverlay(tmp) == nil:
		return Overlay, nil
	case probeReflink(tmp) == nil:
		return Reflink, nil
	}
	return Copy, nil
}

// probeReflink clones a file.
func probeReflink(dir string) error {
	src, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Write(make([]byte, 8192)); err != nil {
		return err
	}
	dst, err := os.Create(filepath.Join(dir, "b"))
	if err != nil {
		return err
	}
	defer dst.Close()
	return reflink(dst, src)
}

// path joins names to the directory of the store.
func (s *Store) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// checkChain refuses whatever is not a digest as its producer writes it.
func checkChain(chain string) error {
	algorithm, hex, _ := strings.Cut(chain, ":")
	want := map[string]int{"sha256": 64, "sha512": 128}[algorithm]
	if want == 0 || len(hex) != want || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf("chain id %.160q: %w: it is not a sha256 or sha512 digest", chain, fs.ErrInvalid)
	}
	return nil
}

// shortLen is the length of a layer's directory name. With 16 characters the
// lower directories of 127 layers fit the page that mount(2) takes. They are
// 80 bits; the whole chain id is beside the layer and compared.
const shortLen = 16

// short is the name of a layer's directory.
func short(chain string) string {
	sum := sha256.Sum256([]byte(chain))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func isShort(s string) bool {
	return len(s) == shortLen && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// checkID refuses names that could mean another directory.
func checkID(id string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if id == "" || len(id) > 64 || strings.Trim(id, letters) != "" {
		return fmt.Errorf("root %.80q: %w: a name has 1 to 64 letters, digits, - or _", id, fs.ErrInvalid)
	}
	return nil
}

// writeDurably makes or replaces a file, which is on disk when it returns.
func writeDurably(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once renamed it is not there any more
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
