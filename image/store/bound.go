package store

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/joyboyid/xc/ocitar"
)

// What an archive may hold is what ocitar.Limits let a layer hold by default.
const (
	maxBytes   = 256 << 30 // plain ones, unless the options say otherwise
	maxGrowth  = 500       // plain bytes per compressed one,
	growthFrom = 256 << 20 // from so many bytes on
)

// bounded is an archive that may be anybody's. It ends with ocitar.ErrLimit: what a
// few bytes decompress to, or a stream without end, would otherwise fill the disk.
type bounded struct {
	r   io.Reader
	raw *counted // what r decompresses; nil if it does not
	max int64    // bytes
	n   int64    // bytes so far
}

// bound reads r up to the bytes that an option allows: zero is the default, negative
// no limit.
func bound(r io.Reader, raw *counted, option int64) *bounded {
	b := &bounded{r: r, raw: raw, max: option}
	switch {
	case option == 0:
		b.max = maxBytes
	case option < 0:
		b.max = 1<<63 - 1
	}
	return b
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.max:
		return 0, fmt.Errorf("more than %d bytes: %w", b.max, ocitar.ErrLimit)
	case b.raw != nil && b.n > growthFrom && b.n/max(b.raw.n.Load(), 1) > maxGrowth:
		return 0, fmt.Errorf("compressed data that grows more than %d-fold: %w", maxGrowth, ocitar.ErrLimit)
	}
	return n, err
}

// counted counts what is read of it. A decompressor may do so beside its own reader.
type counted struct {
	r io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
