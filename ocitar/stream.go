package ocitar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/joyboyid/xc/ocitar/internal/inflate"
	"github.com/klauspost/compress/zstd"
)

var errStopped = errors.New("stopped")

// A stream is a layer being read: decompressed, hashed on both sides, counted.
type stream struct {
	ctx    context.Context
	limits Limits
	plain  *pump
	raw    *pump // plain itself, if nothing is compressed
	kind   Compression
	pos    int64 // bytes of the plain stream consumed
}

// openStream recognises the compression by content and starts the pumps. stream.close
// stops them; a Read of layer that is under way then ends on its own.
func openStream(ctx context.Context, layer io.Reader, limits Limits) (*stream, error) {
	s := &stream{ctx: ctx, limits: limits}
	head := make([]byte, 6)
	n, err := io.ReadFull(layer, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), layer)
	if s.kind, err = detect(head[:n]); err != nil {
		return nil, err
	}
	s.raw = newPump(reading(source{whole}))
	s.plain = s.raw
	if s.kind == None {
		return s, nil
	}
	plain, err := s.decompressor()
	if err != nil {
		s.raw.Stop()
		return nil, fmt.Errorf("%s: %v: %w", s.kind, err, ErrData)
	}
	s.plain = newPump(plain)
	return s, nil
}

// A source marks the errors of the reader that a layer comes from, so that they are
// told from those of the data through whatever stands in between.
type source struct{ r io.Reader }

type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read layer: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = &sourceError{err}
	}
	return n, err
}

// detect names the compression of a stream that starts with head.
func detect(head []byte) (Compression, error) {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	refuse := func(name string) (Compression, error) {
		return None, fmt.Errorf("layer is compressed with %s (gzip, zstd and none are known): %w", name, errors.ErrUnsupported)
	}
	switch {
	case has("\x1f\x8b"):
		return Gzip, nil
	case has("\x28\xb5\x2f\xfd"), len(head) >= 4 && head[0]&0xf0 == 0x50 && has(string(head[:1])+"\x2a\x4d\x18"):
		return Zstd, nil // the second is a skippable frame (RFC 8878, 3.1.2)
	case has("\xfd7zXZ\x00"):
		return refuse("xz")
	case has("BZh"):
		return refuse("bzip2")
	case has("\x04\x22\x4d\x18"):
		return refuse("lz4")
	case has("\x1f\x9d"):
		return refuse("compress")
	case has("LZIP"):
		return refuse("lzip")
	}
	return None, nil
}

func (s *stream) decompressor() (filler, error) {
	if s.kind == Gzip {
		z := inflate.NewGzip(func() ([]byte, error) { return s.raw.next(math.MaxInt64) })
		d := &decompressor{s: s, fill: func(b *block) error {
			if b.buf == nil {
				b.buf = make([]byte, inflate.History+blockSize)
			}
			n, err := z.Fill(b.buf)
			b.data = b.buf[inflate.History:][:n]
			return err
		}}
		return d.block, nil
	}
	// A skippable frame alone, or none at all, is empty; low memory halves the
	// decoder's own buffers, not the window.
	z, err := zstd.NewReader(s.raw, zstd.WithDecoderMaxWindow(uint64(min(s.limits.window(), 1<<32))),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	d := &decompressor{s: s, fill: reading(z), done: z.Close}
	return d.block, nil
}

// A decompressor bounds the ratio and says which data is at fault.
type decompressor struct {
	s    *stream
	fill filler
	done func()
	n    int64
}

// ratioFrom is how many bytes must have come out before the ratio counts.
const ratioFrom = 256 << 20

func (d *decompressor) block(b *block) error {
	err := d.fill(b)
	d.n += int64(len(b.data))
	if in := d.s.raw.count.Load(); d.n > ratioFrom && d.n/max(in, 1) > d.s.limits.ratio() {
		err = fmt.Errorf("%s data grows more than %d-fold: %w", d.s.kind, d.s.limits.ratio(), ErrLimit)
	}
	if err == nil {
		return nil
	}
	if d.done != nil {
		d.done()
	}
	switch {
	case err == io.EOF || errors.Is(err, ErrLimit):
	case errors.As(err, new(*sourceError)) || errors.Is(err, errStopped):
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = fmt.Errorf("zstd window of more than %d bytes: %w", d.s.limits.window(), ErrLimit)
	default:
		err = fmt.Errorf("%s: %v: %w", d.s.kind, err, ErrData)
	}
	return err
}

// stopped is why the context ended, if it did.
func (s *stream) stopped() error { return context.Cause(s.ctx) }

// next hands out at most max bytes of the plain stream, valid until the next call.
func (s *stream) next(max int64) ([]byte, error) {
	if err := s.stopped(); err != nil {
		return nil, err
	}
	b, err := s.plain.next(max)
	s.pos += int64(len(b))
	if s.pos > s.limits.bytes() {
		return nil, fmt.Errorf("layer of more than %d bytes: %w", s.limits.bytes(), ErrLimit)
	}
	return b, err
}

// full reads len(b) bytes. io.EOF means none, io.ErrUnexpectedEOF some.
func (s *stream) full(b []byte) error {
	for n := 0; n < len(b); {
		part, err := s.next(int64(len(b) - n))
		if err == io.EOF && n > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		n += copy(b[n:], part)
	}
	return nil
}

// each hands the next n bytes to f, in pieces.
func (s *stream) each(n int64, f func([]byte) error) error {
	for n > 0 {
		part, err := s.next(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		n -= int64(len(part))
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) skip(n int64) error { return s.each(n, func([]byte) error { return nil }) }

// finish completes the summary once the plain stream has ended. What follows the
// compressed data belongs to the blob and its digest: the decompressors have read it.
func (s *stream) finish(sum *Summary) error {
	sum.DiffID, sum.TarSize = s.plain.Digest(), s.plain.count.Load()
	if s.raw != s.plain {
		if _, err := io.Copy(io.Discard, s.raw); err != nil {
			return err
		}
	}
	sum.Digest, sum.Size = s.raw.Digest(), s.raw.count.Load()
	sum.Compression, sum.MediaType = s.kind, s.kind.MediaType()
	return nil
}

func (s *stream) close() {
	s.plain.Stop()
	if s.raw != s.plain {
		s.raw.Stop()
	}
}
