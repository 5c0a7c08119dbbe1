package ocitar

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// A sink is a layer being written: what is put in is hashed in one goroutine, and
// compressed, hashed again and written in another. It is a pump in reverse.
type sink struct {
	free chan *block
	hash chan *block
	out  chan *block
	wg   sync.WaitGroup

	cur  *block
	size int64 // bytes put in
	kind Compression

	diff   hash.Hash
	stored tally
	failed chan struct{} // closed after err was set
	err    error
}

// tally counts and hashes what is written.
type tally struct {
	w   io.Writer
	sum hash.Hash // nil where another has the same sum
	n   int64
}

func (t *tally) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.n += int64(n)
	if t.sum != nil {
		t.sum.Write(b[:n])
	}
	return n, err
}

func newSink(w io.Writer, kind Compression, level int) (*sink, error) {
	s := &sink{
		free:   make(chan *block, pumpBlocks),
		hash:   make(chan *block, pumpBlocks),
		out:    make(chan *block, pumpBlocks),
		failed: make(chan struct{}),
		kind:   kind,
		diff:   sha256.New(),
		stored: tally{w: w},
	}
	var enc io.WriteCloser
	var err error
	switch kind {
	case None:
	case Gzip:
		if level == 0 {
			level = pgzip.DefaultCompression
		}
		enc, err = pgzip.NewWriterLevel(&s.stored, level)
	case Zstd:
		if level == 0 {
			level = 1 // half the time of 3, which makes it 5 % smaller
		}
		enc, err = newFrameWriter(&s.stored, zstd.EncoderLevelFromZstd(level))
	default:
		err = fmt.Errorf("%s: %w", kind, ErrFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("compress layer: %w", err)
	}
	if enc != nil {
		s.stored.sum = sha256.New()
	}
	for range pumpBlocks {
		s.free <- new(block)
	}
	s.wg.Go(s.digest)
	s.wg.Go(func() { s.drain(enc) })
	return s, nil
}

func (s *sink) digest() {
	for b := range s.hash {
		s.diff.Write(b.data)
		s.release(b)
	}
}

// drain writes all blocks; after an error it only gives them back.
func (s *sink) drain(enc io.WriteCloser) {
	w := io.Writer(&s.stored)
	if enc != nil {
		w = enc
	}
	var err error
	fail := func(e error) {
		if err == nil && e != nil {
			err = e
			s.err = e
			close(s.failed)
		}
	}
	for b := range s.out {
		if err == nil {
			_, werr := w.Write(b.data)
			fail(werr)
		}
		s.release(b)
	}
	if enc != nil {
		fail(enc.Close())
	}
}

func (s *sink) release(b *block) {
	if b.refs.Add(-1) == 0 {
		s.free <- b
	}
}

// space returns room for at most max bytes; advance says how many were put there.
func (s *sink) space(max int64) ([]byte, error) {
	if s.cur == nil {
		select {
		case <-s.failed:
			return nil, s.err
		case s.cur = <-s.free:
		}
		if s.cur.buf == nil {
			s.cur.buf = make([]byte, blockSize)
		}
		s.cur.data = s.cur.buf[:0]
	}
	b := s.cur.buf[len(s.cur.data):]
	if int64(len(b)) > max {
		b = b[:max]
	}
	return b, nil
}

func (s *sink) advance(n int) {
	s.size += int64(n)
	s.cur.data = s.cur.buf[:len(s.cur.data)+n]
	if len(s.cur.data) == len(s.cur.buf) {
		s.flush()
	}
}

func (s *sink) flush() {
	s.cur.refs.Store(2)
	s.hash <- s.cur
	s.out <- s.cur
	s.cur = nil
}

func (s *sink) write(b []byte) error {
	for len(b) > 0 {
		room, err := s.space(int64(len(b)))
		if err != nil {
			return err
		}
		n := copy(room, b)
		s.advance(n)
		b = b[n:]
	}
	return nil
}

func (s *sink) zeros(n int) error {
	for n > 0 {
		room, err := s.space(int64(n))
		if err != nil {
			return err
		}
		clear(room)
		s.advance(len(room))
		n -= len(room)
	}
	return nil
}

// close writes what is left, waits, and completes the summary.
func (s *sink) close(sum *Summary) error {
	if s.cur != nil {
		s.flush()
	}
	close(s.hash)
	close(s.out)
	s.wg.Wait()
	if s.err != nil {
		return fmt.Errorf("write layer: %w", s.err)
	}
	hex := func(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }
	sum.DiffID, sum.TarSize = hex(s.diff), s.size
	sum.Digest, sum.Size = sum.DiffID, s.stored.n
	if s.stored.sum != nil {
		sum.Digest = hex(s.stored.sum)
	}
	sum.Compression, sum.MediaType = s.kind, s.kind.MediaType()
	return nil
}
