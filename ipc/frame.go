package ipc

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// version is the major version of the wire, sent in the hello. Peers that
// differ in it part.
const version = 1

// headerSize is the length of a frame's header, bytes.
const headerSize = 16

// creditSize is room for the number of a credit, bytes.
const creditSize = 32

// kind is the second field of a frame's header.
type kind uint8

const (
	kindHello  kind = 1 // both ways, first frame: JSON hello
	kindCall   kind = 2 // client: method line, then JSON parameters
	kindResult kind = 3 // server, last of its call: JSON result
	kindError  kind = 4 // server, last of its call: JSON Error
	kindItem   kind = 5 // server: JSON item of a stream
	kindCredit kind = 6 // client: JSON number, bytes of items more
	kindCancel kind = 7 // client: no body
	kindDrain  kind = 8 // server: no body, id 0; it takes no more calls
	kindBye    kind = 9 // server: no body, id 0; it has answered all that it took
)

// header is the fixed part of a frame, see the package comment.
type header struct {
	size  uint32 // of the body, bytes
	kind  kind
	files uint16 // descriptors attached to the header's first byte
	id    uint64 // of the call, chosen by the client
}

func (h header) put(b []byte) {
	_ = b[headerSize-1]
	binary.BigEndian.PutUint32(b[0:], h.size)
	b[4], b[5] = byte(h.kind), 0
	binary.BigEndian.PutUint16(b[6:], h.files)
	binary.BigEndian.PutUint64(b[8:], h.id)
}

// parseHeader refuses what no peer of this version sends, before anything is
// allocated for the body.
func parseHeader(b []byte, l Limits) (header, error) {
	_ = b[headerSize-1]
	h := header{
		size:  binary.BigEndian.Uint32(b[0:]),
		kind:  kind(b[4]),
		files: binary.BigEndian.Uint16(b[6:]),
		id:    binary.BigEndian.Uint64(b[8:]),
	}
	switch {
	case h.kind < kindHello || h.kind > kindBye:
		return h, fmt.Errorf("%w: kind %d", errProtocol, h.kind)
	case b[5] != 0:
		return h, fmt.Errorf("%w: flags %#x", errProtocol, b[5])
	case int64(h.size) > int64(l.Body):
		return h, fmt.Errorf("%w: body of %d bytes, limit %d", errProtocol, h.size, l.Body)
	case h.size > creditSize && h.kind == kindCredit, h.size > 0 && (h.kind == kindCancel || h.kind == kindDrain || h.kind == kindBye):
		return h, fmt.Errorf("%w: body of %d bytes of kind %d", errProtocol, h.size, h.kind)
	case int(h.files) > l.Files:
		return h, fmt.Errorf("%w: %d descriptors, limit %d", errProtocol, h.files, l.Files)
	}
	return h, nil
}

// frame is one received frame. Its body is pooled: release gives it back.
type frame struct {
	header
	body []byte
	fds  []int // owned by whoever holds the frame
	pool *[]byte

	dropped bool // there was no room for its body, which is lost
}

// bodies keeps the buffers of received frames. Larger ones are left to the
// garbage collector, so that one large call does not stay in memory.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

const pooledMax = 128 << 10 // bytes

// alloc gives the frame a body of length zero and at most the capacity that
// was asked for: a length field alone never costs more than pooledMax.
func (f *frame) alloc(size int) {
	f.pool = bodies.Get().(*[]byte)
	if cap(*f.pool) < size {
		*f.pool = make([]byte, 0, min(size, pooledMax))
	}
	f.body = (*f.pool)[:0]
}

// release gives the body back to the pool. Descriptors stay.
func (f *frame) release() {
	if f.pool == nil {
		return
	}
	if cap(f.body) <= pooledMax {
		*f.pool = f.body[:0]
		bodies.Put(f.pool)
	}
	f.pool, f.body = nil, nil
}

// discard releases the body and closes the descriptors.
func (f *frame) discard() {
	f.release()
	closeFDs(f.fds)
	f.fds = nil
}
