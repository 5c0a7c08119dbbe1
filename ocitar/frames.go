package ocitar

import (
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// frameSize is how much plain data is in one zstd frame, in bytes: much more than the
// window of the usual levels is looked back for, so that starting anew costs little, and
// the same always, so that the bytes do not depend on the machine.
const frameSize = 4 << 20

// A frameWriter compresses frames on all cores and writes them in order. What a stream
// encoder has of goroutines only prepares one block while another is encoded.
type frameWriter struct {
	enc   *zstd.Encoder
	free  chan *frame
	order chan *frame // as they are to be written
	done  chan error
	cur   *frame
	any   bool
}

// A frame is plain data, and what has become of it.
type frame struct {
	plain, coded []byte
	ready        chan struct{}
}

func newFrameWriter(w io.Writer, level zstd.EncoderLevel) (*frameWriter, error) {
	cores := min(runtime.GOMAXPROCS(0), maxCores)
	// One encoder for all: it has one state for each core.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(cores),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	f := &frameWriter{enc: enc, free: make(chan *frame, cores+1), order: make(chan *frame, cores+1), done: make(chan error, 1)}
	for range cores + 1 {
		f.free <- &frame{ready: make(chan struct{}, 1)}
	}
	go f.drain(w)
	return f, nil
}

// maxCores bounds the memory, which grows with them.
const maxCores = 16

// drain writes the frames; after an error it only gives them back.
func (f *frameWriter) drain(w io.Writer) {
	var err error
	for fr := range f.order {
		<-fr.ready
		if err == nil {
			_, err = w.Write(fr.coded)
		}
		fr.plain = fr.plain[:0]
		f.free <- fr
		if err != nil {
			select {
			case f.done <- err:
			default:
			}
		}
	}
	if err == nil {
		f.done <- nil
	}
	close(f.done)
}

func (f *frameWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if f.cur == nil {
			f.cur = <-f.free
			select {
			case err := <-f.done:
				f.done <- err // for Close
				return n, err
			default:
			}
			if f.cur.plain == nil {
				f.cur.plain = make([]byte, 0, frameSize)
			}
		}
		m := min(len(b), frameSize-len(f.cur.plain))
		f.cur.plain = append(f.cur.plain, b[:m]...)
		b, n = b[m:], n+m
		if len(f.cur.plain) == frameSize {
			f.flush()
		}
	}
	return n, nil
}

func (f *frameWriter) flush() {
	fr := f.cur
	f.cur, f.any = nil, true
	f.order <- fr
	go func() {
		fr.coded = f.enc.EncodeAll(fr.plain, fr.coded[:0])
		fr.ready <- struct{}{}
	}()
}

// Close writes what is left; of nothing an empty frame.
func (f *frameWriter) Close() error {
	if f.cur != nil && len(f.cur.plain) > 0 || !f.any {
		if f.cur == nil {
			f.cur = <-f.free
		}
		f.flush()
	}
	close(f.order)
	return <-f.done
}
