package ocitar

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"sync/atomic"
)

// blockSize is what is handed from one goroutine to the next, in bytes. It is
// large, because the hand-over costs a wake-up, and fits in the second-level cache.
const blockSize = 256 << 10

// pumpBlocks is how many blocks a pump has: how far its stages may drift apart.
const pumpBlocks = 16

// A block is read by two: the consumer and the hasher. The last one frees it.
type block struct {
	buf  []byte // the filler's
	data []byte // what is in it
	refs atomic.Int32
}

// A filler puts what comes next into b.data, which may also be nothing. With the last of it,
// or after that, it returns io.EOF, or what went wrong.
type filler func(b *block) error

// reading fills blocks by reading r.
func reading(r io.Reader) filler {
	return func(b *block) (err error) {
		if b.buf == nil {
			b.buf = make([]byte, blockSize)
		}
		n := 0
		for err == nil && n < len(b.buf) { // not io.ReadFull: it replaces the error
			var m int
			m, err = r.Read(b.buf[n:])
			n += m
		}
		b.data = b.buf[:n]
		return err
	}
}

// A pump reads ahead in one goroutine, hashes what was read in another, and hands
// it to its consumer in a third, so that reading (or decompressing), hashing and
// writing overlap. Its memory is pumpBlocks blocks.
type pump struct {
	free   chan *block // room for all of them: never blocks a giver
	full   chan *block // closed at the end, after err was set
	hash   chan *block
	stop   chan struct{}
	hashed chan struct{} // closed once sum is final

	err   error // how reading ended; io.EOF is nil
	sum   hash.Hash
	count atomic.Int64 // bytes read so far

	cur  *block // the consumer's
	rest []byte
}

// newPump starts filling blocks. The goroutines end when there is no more, or at Stop.
func newPump(fill filler) *pump {
	p := &pump{
		free:   make(chan *block, pumpBlocks),
		full:   make(chan *block, pumpBlocks),
		hash:   make(chan *block, pumpBlocks),
		stop:   make(chan struct{}),
		hashed: make(chan struct{}),
		sum:    sha256.New(),
	}
	for range pumpBlocks {
		p.free <- new(block) // its memory comes with its first use: small layers need one
	}
	go p.read(fill)
	go p.digest()
	return p
}

func (p *pump) read(fill filler) {
	defer close(p.hash)
	defer close(p.full)
	for p.err == nil {
		var b *block
		select {
		case b = <-p.free:
		case <-p.stop:
			p.err = errStopped
			return
		}
		p.err = fill(b)
		p.count.Add(int64(len(b.data)))
		b.refs.Store(2)
		p.hash <- b
		p.full <- b
	}
	if p.err == io.EOF {
		p.err = nil
	}
}

func (p *pump) digest() {
	defer close(p.hashed)
	for b := range p.hash {
		p.sum.Write(b.data)
		p.release(b)
	}
}

func (p *pump) release(b *block) {
	if b.refs.Add(-1) == 0 {
		p.free <- b
	}
}

// next returns what is there, at most max bytes. They are valid until the next call.
func (p *pump) next(max int64) ([]byte, error) {
	for len(p.rest) == 0 {
		if p.cur != nil {
			p.release(p.cur)
			p.cur = nil
		}
		b, ok := <-p.full
		if !ok {
			if p.err != nil {
				return nil, p.err
			}
			return nil, io.EOF
		}
		p.cur, p.rest = b, b.data
	}
	b := p.rest
	if int64(len(b)) > max {
		b = b[:max]
	}
	p.rest = p.rest[len(b):]
	return b, nil
}

// Read is next, copied.
func (p *pump) Read(dst []byte) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	b, err := p.next(int64(len(dst)))
	return copy(dst, b), err
}

// Stop has the goroutines end. One that is filling a block ends after it.
func (p *pump) Stop() { close(p.stop) }

// Digest waits until all was hashed; the consumer has seen the end.
func (p *pump) Digest() string {
	<-p.hashed
	return "sha256:" + hex.EncodeToString(p.sum.Sum(nil))
}
