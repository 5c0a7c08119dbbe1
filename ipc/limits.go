package ipc

import "time"

// Limits bound what a peer can make this side hold. A zero field means its
// default.
type Limits struct {
	Body  int           // bytes of one frame's body; 4 MiB, at least 16 KiB
	Files int           // descriptors of one frame; 64, at least 8, at most 250 (the kernels' own limit)
	Hello time.Duration // until the peer's hello has come; 10 s
	Stall time.Duration // without progress inside a frame, either way; 30 s

	// What follows binds servers only.
	Calls        int // running calls of one connection; 1024
	Bytes        int // bodies of the calls of one connection that run or are being received; 16 MiB
	Conns        int // connections; 2048
	ConnsPerUser int // connections of one uid; 1024
	ConnRate     int // connections of one uid in a second, beyond which they wait for their turn; 1000
	CallsPerUser int // running calls of one uid; 4096
	FilesPerUser int // descriptors that one uid has sent and that are not closed yet; 4096
	BytesPerUser int // bodies of the calls of one uid that run or are being received, and, beside those, of answers it does not read; 64 MiB
}

// What every side takes: a client sends that much before it has the server's
// hello.
const (
	leastBody  = 16 << 10 // bytes
	leastFiles = 8        // descriptors of a frame
)

func (l Limits) filled() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.Body, 4<<20)
	set(&l.Files, 64)
	set(&l.Calls, 1024)
	set(&l.Bytes, max(16<<20, l.Body))
	set(&l.Conns, 2048)
	set(&l.ConnsPerUser, 1024)
	set(&l.ConnRate, 1000)
	set(&l.CallsPerUser, 4096)
	set(&l.FilesPerUser, 4096)
	set(&l.BytesPerUser, max(64<<20, l.Body))
	l.Body, l.Files = max(l.Body, leastBody), min(max(l.Files, leastFiles), maxRights)
	if l.Hello <= 0 {
		l.Hello = 10 * time.Second
	}
	if l.Stall <= 0 {
		l.Stall = 30 * time.Second
	}
	return l
}
