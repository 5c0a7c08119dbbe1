package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
)

// Writer appends to a log. The fields are set before the first use. It opens
// files when there is something to write, and no directory ever. It is safe
// for use by several goroutines; one process at a time writes a log.
type Writer struct {
	Path     string
	MaxBytes int64 // size at which a new file is begun; 0: never
	MaxFiles int   // files to keep, the current one included; less than 1 means 1

	mu    sync.Mutex
	f     *os.File // nil until the first write, and after a failure to open
	size  int64    // bytes in f
	torn  bool     // f ends in the middle of a line
	lost  int64    // bytes of output not written since the last note
	cause error    // of that
	buf   []byte
}

// Write logs p, read from a stream at this time. It does not fail: what
// cannot be written, on a full disk for one, is dropped, and a record of the
// stream [Note] tells how much it was and why as soon as there is room again.
func (w *Writer) Write(s Stream, at time.Time, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = w.buf[:0]
	if w.lost > 0 {
		w.buf = appendRecords(w.buf, Note, at, fmt.Appendf(nil, "%d bytes of output were not logged: %v\n", w.lost, w.cause))
	}
	w.buf = appendRecords(w.buf, s, at, p)
	if err := w.write(); err != nil {
		w.lost += int64(len(p))
		w.cause = err
		return
	}
	w.lost, w.cause = 0, nil
}

// Close closes the file. Its error tells of output that could not be logged.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if w.lost > 0 {
		err = fmt.Errorf("log %s: %d bytes of output were not logged: %w", w.Path, w.lost, w.cause)
	}
	if w.f != nil {
		err = errors.Join(err, w.f.Close())
		w.f = nil
	}
	return err
}

// write writes buf, all or nothing.
func (w *Writer) write() error {
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.MaxBytes > 0 && w.size > 0 && w.size+int64(len(w.buf)) > w.MaxBytes {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	if w.torn {
		if _, err := w.f.Write([]byte{'\n'}); err != nil {
			return err
		}
		w.size++
		w.torn = false
	}
	n, err := w.f.Write(w.buf)
	if err == nil {
		w.size += int64(n)
		return nil
	}
	if n > 0 && w.f.Truncate(w.size) != nil {
		w.size += int64(n)
		w.torn = true
	}
	return err
}

// open opens the current file, and closes a line that a crash has torn.
func (w *Writer) open() error {
	f, err := os.OpenFile(w.Path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size, w.torn = f, info.Size(), false
	if w.size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], w.size-1); err != nil || last[0] != '\n' {
			w.torn = true
		}
	}
	return nil
}

// rotate renames the files to the next older generation and begins a new one.
func (w *Writer) rotate() error {
	files := max(w.MaxFiles, 1)
	if files == 1 {
		if err := os.Remove(w.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i := files - 1; i > 0; i-- {
		err := os.Rename(generation(w.Path, i-1), generation(w.Path, i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := w.f.Close()
	w.f = nil
	return errors.Join(err, w.open())
}

// generation is the name of the i-th older file of a log; 0 is the current.
func generation(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
