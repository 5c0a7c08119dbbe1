package runloop

import (
	"bytes"
	"slices"
	"sync"

	"github.com/joyboyid/xc/site/logfile"
)

const (
	ringMax  = 64 << 10 // bytes of recent output, for replay
	ringJoin = 4 << 10  // pieces are joined up to this size, in bytes
)

// hub hands output to the clients that are attached, and remembers the latest.
type hub struct {
	keep bool          // remember
	done chan struct{} // closed at the end

	mu     sync.Mutex
	ring   []piece
	size   int                     // bytes in ring
	torn   map[logfile.Stream]bool // what is in ring of a stream may begin in the middle of a line
	joined map[*outlet]logfile.Stream
	ended  bool
}

type piece struct {
	stream logfile.Stream
	data   []byte
}

func newHub(keep bool) *hub {
	return &hub{keep: keep, done: make(chan struct{}), joined: map[*outlet]logfile.Stream{}, torn: map[logfile.Stream]bool{}}
}

// publish hands p, which stays the caller's, to all who have joined.
func (h *hub) publish(s logfile.Stream, p []byte) {
	h.mu.Lock()
	if h.keep {
		h.rememberLocked(s, p)
	}
	var to []*outlet
	for o, want := range h.joined {
		if want == s {
			to = append(to, o)
		}
	}
	h.mu.Unlock()
	for _, o := range to { // may wait
		o.put(p)
	}
}

func (h *hub) rememberLocked(s logfile.Stream, p []byte) {
	if len(p) > ringMax {
		p = p[len(p)-ringMax:]
		h.torn[s] = true
	}
	h.size += len(p)
	if n := len(h.ring); n > 0 && h.ring[n-1].stream == s && len(h.ring[n-1].data)+len(p) <= ringJoin {
		h.ring[n-1].data = append(h.ring[n-1].data, p...)
	} else {
		h.ring = append(h.ring, piece{s, slices.Clone(p)})
	}
	drop := 0
	for h.size > ringMax {
		over := h.size - ringMax
		h.torn[h.ring[drop].stream] = true
		if first := &h.ring[drop]; len(first.data) > over {
			first.data = first.data[over:]
			h.size -= over
		} else {
			h.size -= len(first.data)
			drop++
		}
	}
	h.ring = slices.Delete(h.ring, 0, drop)
}

// join gives o the output of a stream from now on, or with replay from a
// little earlier, from the begin of a line if it has lines. No byte comes twice
// or is missing in between. After the end it gets the replay only.
func (h *hub) join(o *outlet, s logfile.Stream, replay bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if replay {
		skip := h.torn[s]
		for _, p := range h.ring {
			if p.stream != s {
				continue
			}
			data := p.data
			if i := bytes.IndexByte(data, '\n'); skip && i >= 0 {
				data = data[i+1:]
			}
			skip = false
			o.put(data) // has room: ringMax is outletMax
		}
	}
	if h.ended {
		o.end()
		return
	}
	h.joined[o] = s
}

func (h *hub) leave(o *outlet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.joined, o)
}

// end lets all who have joined read what they were given.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		close(h.done)
	}
	h.ended = true
	for o := range h.joined {
		o.end()
	}
}
