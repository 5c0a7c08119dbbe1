package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

// ErrBusy is the error of Stage where the blob is being staged already.
var ErrBusy = errors.New("is being staged already")

// Staging is a blob on its way in. What was written stays when it is closed or
// the process dies, and the next Stage of the same blob goes on after it. It is
// for one goroutine.
type Staging struct {
	s    *Store
	desc ispec.Descriptor
	f    *os.File // nil once closed
	hash hash.Hash
	n    int64 // bytes in the file and in the hash
	seen *arrival
}

// Stage begins to write the blob, or goes on after what earlier attempts have
// left: see Offset. It reads and digests that first. The error matches fs.ErrExist if the blob is there and of that size, and ErrBusy if
// somebody stages it now.
func (s *Store) Stage(desc ispec.Descriptor) (*Staging, error) {
	if err := image.CheckDescriptor(desc); err != nil {
		return nil, fmt.Errorf("stage blob: %w", err)
	}
	size, err := s.Stat(desc.Digest)
	switch {
	case err == nil && size == desc.Size:
		return nil, fmt.Errorf("stage blob %s: %w", desc.Digest, fs.ErrExist)
	case err == nil:
		return nil, fmt.Errorf("stage blob: %w", sizeMismatch(desc, size))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return s.stage(desc)
}

// Restage is Stage also where the blob is there but damaged. That one stays until
// Commit puts the new one into its place.
func (s *Store) Restage(ctx context.Context, desc ispec.Descriptor) (*Staging, error) {
	if err := image.CheckDescriptor(desc); err != nil {
		return nil, fmt.Errorf("stage blob: %w", err)
	}
	err := s.verify(ctx, desc.Digest)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err == nil {
		return s.Stage(desc) // which tells that it is there
	}
	return s.stage(desc)
}

func (s *Store) stage(desc ispec.Descriptor) (_ *Staging, err error) {
	g := &Staging{s: s, desc: desc, hash: desc.Digest.Algorithm().Hash(), seen: newArrival(0)}
	s.mu.Lock()
	_, busy := s.staged[desc.Digest]
	if !busy {
		s.staged[desc.Digest] = g.seen
	}
	s.mu.Unlock()
	if busy {
		return nil, fmt.Errorf("stage blob %s: %w", desc.Digest, ErrBusy)
	}
	if g.f, err = os.OpenFile(s.partial(desc.Digest), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		g.release(gone)
		return nil, fmt.Errorf("stage blob: %w", err)
	}
	if err := g.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("resume blob %s: %w", desc.Digest, err), g.Close())
	}
	g.seen.advance(g.n, arriving)
	return g, nil
}

// resume digests what earlier attempts have left.
func (g *Staging) resume() (err error) {
	g.n, err = io.Copy(g.hash, io.LimitReader(g.f, g.desc.Size+1))
	if err == nil && g.n > g.desc.Size {
		err = g.Reset()
	}
	return err
}

// Offset is how many bytes there are, those of earlier attempts included.
func (g *Staging) Offset() int64 { return g.n }

// Reset forgets all that was written.
func (g *Staging) Reset() error {
	g.seen.advance(0, gone) // whoever follows has read what is void now
	g.hash.Reset()
	g.n = 0
	if err := g.f.Truncate(0); err != nil {
		return fmt.Errorf("restart blob %s: %w", g.desc.Digest, err)
	}
	if _, err := g.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("restart blob %s: %w", g.desc.Digest, err)
	}
	return nil
}

// Write appends to the blob. More than its size is refused with an
// *image.MismatchError.
func (g *Staging) Write(p []byte) (int, error) {
	if g.n+int64(len(p)) > g.desc.Size {
		return 0, &image.MismatchError{
			What: "size", Of: g.desc.Digest.String(),
			Want: fmt.Sprint(g.desc.Size), Got: fmt.Sprintf("at least %d", g.n+int64(len(p))),
		}
	}
	n, err := g.f.Write(p)
	g.hash.Write(p[:n])
	g.n += int64(n)
	g.seen.advance(g.n, arriving)
	return n, err
}

// Commit verifies size and digest and makes the blob visible, for good. What
// does not match is removed and reported as an *image.MismatchError; what is
// merely short stays for the next attempt. The Staging is closed in any case.
func (g *Staging) Commit() error {
	if g.f == nil {
		return fmt.Errorf("commit blob %s: %w", g.desc.Digest, os.ErrClosed)
	}
	if g.n != g.desc.Size {
		return errors.Join(fmt.Errorf("commit blob: %w", sizeMismatch(g.desc, g.n)), g.Close())
	}
	if got := digest.NewDigest(g.desc.Digest.Algorithm(), g.hash); got != g.desc.Digest {
		err := &image.MismatchError{What: "digest", Of: "blob", Want: g.desc.Digest.String(), Got: got.String()}
		return errors.Join(fmt.Errorf("commit blob: %w", err), g.Discard())
	}
	f := g.f
	g.f = nil
	path, err := g.s.path(g.desc.Digest)
	if err == nil {
		err = finish(f, path)
	}
	if err != nil {
		g.release(gone)
		return fmt.Errorf("commit blob %s: %w", g.desc.Digest, err)
	}
	g.release(arrived)
	return nil
}

// Discard removes what was written and closes the Staging.
func (g *Staging) Discard() error {
	if g.f == nil {
		return nil
	}
	err := os.Remove(g.f.Name())
	return errors.Join(err, g.Close())
}

// Close ends the Staging and keeps what was written. After Commit, Discard or
// Close it does nothing.
func (g *Staging) Close() error {
	if g.f == nil {
		return nil
	}
	defer g.release(gone)
	f := g.f
	g.f = nil
	return f.Close()
}

// release lets others stage the blob, and tells the followers how it ended.
func (g *Staging) release(state arrivalState) {
	g.s.mu.Lock()
	delete(g.s.staged, g.desc.Digest)
	g.s.mu.Unlock()
	g.seen.advance(g.n, state)
}

func sizeMismatch(desc ispec.Descriptor, got int64) error {
	return &image.MismatchError{
		What: "size", Of: desc.Digest.String(),
		Want: fmt.Sprint(desc.Size), Got: fmt.Sprint(got),
	}
}

// Ingest writes a blob whose digest is not known before: it is what comes out,
// with the size, under sha256. The lease, which may be nil, pins the blob
// before it becomes visible.
func (s *Store) Ingest(ctx context.Context, lease *Lease, mediaType string, r io.Reader) (ispec.Descriptor, error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, ingestDir), "tmp-")
	if err != nil {
		return ispec.Descriptor{}, fmt.Errorf("write blob: %w", err)
	}
	defer os.Remove(f.Name()) // gone after the rename
	digester := digest.SHA256.Digester()
	n, err := io.Copy(io.MultiWriter(f, digester.Hash()), contextReader{ctx, r})
	if err != nil {
		return ispec.Descriptor{}, errors.Join(fmt.Errorf("write blob: %w", err), f.Close())
	}
	desc := ispec.Descriptor{MediaType: mediaType, Digest: digester.Digest(), Size: n}
	path, err := s.path(desc.Digest)
	if err != nil {
		return ispec.Descriptor{}, errors.Join(err, f.Close())
	}
	if lease != nil {
		lease.PinBlobs(desc.Digest)
	}
	if err := finish(f, path); err != nil {
		return ispec.Descriptor{}, fmt.Errorf("write blob %s: %w", desc.Digest, err)
	}
	return desc, nil
}

// Write is Ingest of bytes.
func (s *Store) Write(ctx context.Context, lease *Lease, mediaType string, b []byte) (ispec.Descriptor, error) {
	return s.Ingest(ctx, lease, mediaType, bytes.NewReader(b))
}

// contextReader ends with its context, between two reads.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
