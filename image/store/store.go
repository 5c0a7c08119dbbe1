package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/umoci/oci/cas/dir"
	"github.com/opencontainers/umoci/oci/casext"
	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/image"
)

// ErrLocked is the error of Open where another process has the store.
var ErrLocked = errors.New("in use by another process")

const (
	ingestDir = "ingest" // partial blobs, ALG-HEX, and temporary files, tmp-*
	lockFile  = ".lock"
)

// Store is an OCI image layout in a directory, with blobs that have been
// verified. It may be used by many goroutines at once, and by one process at a
// time.
type Store struct {
	dir    string
	lock   *os.File
	layout casext.Engine
	pins   pins

	mu     sync.Mutex
	staged map[digest.Digest]*arrival
	index  sync.Mutex // serialises changes of index.json
}

// Open opens the store in dir, which is made if need be, readable to its owner
// only. ErrLocked tells that another process has it.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, staged: map[digest.Digest]*arrival{}}
	if err := s.open(); err != nil {
		if s.lock != nil {
			_ = s.lock.Close() // nothing was written through it
		}
		return nil, fmt.Errorf("open image store %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open() error {
	for _, d := range []string{"", ingestDir, ispec.ImageBlobsDir, "blobs/sha256", "blobs/sha512"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return err
		}
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := lock(s.lock); err != nil {
		return err
	}
	// Temporary files are of no use to anyone but their writer; partial blobs stay.
	tmps, err := filepath.Glob(filepath.Join(s.dir, ingestDir, "tmp-*"))
	if err != nil {
		return err
	}
	for _, name := range tmps {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	// umoci's own Create can be interrupted half way, after which nothing opens;
	// here oci-layout is last, and each file is there whole or not at all.
	if err := s.ensureFile(ispec.ImageIndexFile, `{"schemaVersion":2,"mediaType":"`+ispec.MediaTypeImageIndex+`","manifests":[]}`); err != nil {
		return err
	}
	if err := s.ensureFile(ispec.ImageLayoutFile, `{"imageLayoutVersion":"`+ispec.ImageLayoutVersion+`"}`); err != nil {
		return err
	}
	engine, err := dir.Open(s.dir)
	if err != nil {
		return err
	}
	s.layout = casext.NewEngine(engine)
	return s.layout.Clean(context.Background()) // debris of umoci's, local and quick
}

// A process that was killed while it started another one leaves it its open
// files until that one has executed its program: for that moment a dead process
// holds the lock.
const (
	lockTries = 50
	lockWait  = 20 * time.Millisecond
)

// lock takes the lock of the store, flock(2).
func lock(f *os.File) error {
	for i := 0; ; i++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return os.NewSyscallError("flock", err)
		case i == lockTries:
			return ErrLocked
		}
		time.Sleep(lockWait)
	}
}

// Close gives the store up. Blobs that are open stay readable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := errors.Join(s.layout.Close(), s.lock.Close())
	s.lock = nil
	return err
}

// Dir is the directory of the layout.
func (s *Store) Dir() string { return s.dir }

// Layout gives the layout to umoci's casext and mutate. It sees sha256 blobs
// only. Pin what it writes with a Lease, and check digests that come from
// elsewhere before it sees them.
func (s *Store) Layout() casext.Engine { return s.layout }

// ensureFile makes a file with the given content unless it is there.
func (s *Store) ensureFile(name, content string) error {
	path := filepath.Join(s.dir, name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(s.dir, ingestDir), "tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	if _, err := f.WriteString(content + "\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	return finish(f, path)
}

// finish makes a file that is written visible under its name, for good.
func finish(f *os.File, path string) error {
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames in a directory survive a power cut.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// path is the name of a blob's file; the digest becomes part of it only after
// it was checked.
func (s *Store) path(d digest.Digest) (string, error) {
	if err := image.CheckDigest(d); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, ispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()), nil
}

// Stat returns the size of a blob in bytes. The error of a missing one matches
// fs.ErrNotExist.
func (s *Store) Stat(d digest.Digest) (int64, error) {
	path, err := s.path(d)
	if err != nil {
		return 0, fmt.Errorf("stat blob: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0, fmt.Errorf("stat blob: %w", err)
	}
	return info.Size(), nil
}

// Open opens a blob, which was verified when it came in. The caller closes it.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Read returns a blob of at most limit bytes whole, and verifies it once more:
// what is read this way is going to be believed.
func (s *Store) Read(desc ispec.Descriptor, limit int64) ([]byte, error) {
	if desc.Size > limit {
		return nil, fmt.Errorf("read blob %s: %d bytes, at most %d are accepted", desc.Digest, desc.Size, limit)
	}
	f, err := s.Open(desc.Digest)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, desc.Size+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	if err := image.Verify(desc, b); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", f.Name(), err)
	}
	return b, nil
}

// Blob is a blob in the store.
type Blob struct {
	Digest digest.Digest
	Size   int64 // bytes
}

// Blobs lists the blobs, in no order worth knowing.
func (s *Store) Blobs() iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			entries, err := os.ReadDir(filepath.Join(s.dir, ispec.ImageBlobsDir, alg.String()))
			if err != nil {
				yield(Blob{}, fmt.Errorf("list blobs: %w", err))
				return
			}
			for _, e := range entries {
				d := digest.NewDigestFromEncoded(alg, e.Name())
				if image.CheckDigest(d) != nil {
					continue // not a blob, not ours
				}
				info, err := e.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err != nil {
					yield(Blob{}, fmt.Errorf("list blobs: %w", err))
					return
				}
				if !yield(Blob{d, info.Size()}, nil) {
					return
				}
			}
		}
	}
}

// Delete removes a blob and whatever was staged of it, also when there is none.
// Prune is what knows whether it is still wanted.
func (s *Store) Delete(d digest.Digest) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	for _, p := range []string{path, s.partial(d)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete blob: %w", err)
		}
	}
	return nil
}

// partial is the name of the file that collects a blob.
func (s *Store) partial(d digest.Digest) string {
	return filepath.Join(s.dir, ingestDir, d.Algorithm().String()+"-"+d.Encoded())
}

// partials lists the blobs that were begun.
func (s *Store) partials() ([]digest.Digest, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, ingestDir))
	if err != nil {
		return nil, err
	}
	var list []digest.Digest
	for _, e := range entries {
		alg, hex, _ := strings.Cut(e.Name(), "-")
		if d := digest.NewDigestFromEncoded(digest.Algorithm(alg), hex); image.CheckDigest(d) == nil {
			list = append(list, d)
		}
	}
	return list, nil
}
