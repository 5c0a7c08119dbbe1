package logfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// Query chooses records.
type Query struct {
	Since time.Time // not those before; zero: all
	Until time.Time // not those after; zero: all
	Tail  *int      // only the last n lines of those; nil: all
	// Follow makes Read wait for more until the channel is closed; it then
	// reads to the end and returns. Nil: it returns at the present end.
	Follow <-chan struct{}
}

// pollInterval is how often a follower looks for more. A log is followed
// only while somebody watches it.
const pollInterval = 100 * time.Millisecond

// Read calls emit for the records chosen, oldest first, and returns the
// error that emit returns. Lines that are no records are passed over; a log
// that does not exist is empty. Rotation while it reads loses nothing, as
// long as a file is not removed before its turn: who follows is told of that by
// a record of the stream [Note].
func Read(ctx context.Context, path string, q Query, emit func(Record) error) error {
	files, err := openAll(path)
	if err != nil {
		return err
	}
	r := &reader{ctx: ctx, path: path, q: q, emit: emit, files: files}
	defer r.close()
	if q.Tail != nil {
		if err := r.skipToTail(*q.Tail); err != nil {
			return err
		}
	}
	err = r.run()
	if errors.Is(err, errUntil) {
		return nil
	}
	return err
}

// errUntil ends a read whose Until has passed.
var errUntil = errors.New("until")

// reader reads the files of a log, oldest first.
type reader struct {
	ctx   context.Context
	path  string
	q     Query
	emit  func(Record) error
	files []*os.File // oldest first, positioned; files[0] is being read
	line  []byte     // the incomplete last line of files[0]
	long  bool       // line has become too long to be a record
}

func (r *reader) close() {
	for _, f := range r.files {
		_ = f.Close() // read only
	}
}

// openAll opens the files of a log, oldest first. It opens them newest first:
// one that is rotated meanwhile is then seen twice, and never missed.
func openAll(path string) ([]*os.File, error) {
	var files []*os.File
	var last fs.FileInfo
	for i, missing := 0, 0; ; i++ {
		f, err := os.Open(generation(path, i))
		if errors.Is(err, fs.ErrNotExist) {
			if missing++; missing == 2 { // one is the gap that moves up during a rotation
				return files, nil
			}
			continue
		}
		missing = 0
		var info fs.FileInfo
		if err == nil {
			info, err = f.Stat()
		}
		if err != nil {
			(&reader{files: append(files, f)}).close()
			return nil, err
		}
		if last != nil && os.SameFile(last, info) {
			_ = f.Close() // read only
			continue
		}
		last = info
		files = append([]*os.File{f}, files...)
	}
}

func (r *reader) run() error {
	for {
		if len(r.files) > 0 {
			if err := r.readFile(); err != nil {
				return err
			}
		}
		if len(r.files) > 1 {
			r.next()
			continue
		}
		done := r.q.Follow == nil
		if !done {
			var err error
			if done, err = r.wait(); err != nil {
				return err
			}
		}
		more, err := r.findNewer()
		if err != nil {
			return err
		}
		if !more && done {
			return r.readRest()
		}
	}
}

// readRest reads what came between the last look and the end.
func (r *reader) readRest() error {
	if len(r.files) == 0 {
		return nil
	}
	return r.readFile()
}

// wait waits for the next look at the files, or for the end of following.
func (r *reader) wait() (done bool, err error) {
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	select {
	case <-r.ctx.Done():
		return false, r.ctx.Err()
	case <-r.q.Follow:
		return true, nil
	case <-t.C:
		return false, nil
	}
}

// next goes on to the next newer file. An incomplete line is torn.
func (r *reader) next() {
	_ = r.files[0].Close() // read only
	r.files = r.files[1:]
	r.line, r.long = r.line[:0], false
}

// findNewer opens the files that were begun after the one being read.
func (r *reader) findNewer() (more bool, err error) {
	if len(r.files) == 0 {
		r.files, err = openAll(r.path)
		return len(r.files) > 0, err
	}
	mine, err := r.files[0].Stat()
	if err != nil {
		return false, err
	}
	if now, err := os.Stat(r.path); err == nil && os.SameFile(mine, now) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	all, err := openAll(r.path)
	if err != nil {
		return false, err
	}
	for i, f := range all {
		if info, err := f.Stat(); err == nil && os.SameFile(mine, info) {
			(&reader{files: all[:i+1]}).close()
			r.files = append(r.files, all[i+1:]...)
			return len(r.files) > 1, nil
		}
	}
	// What was rotated away is still there to be read, and what came after it may
	// not have been: then it is the oldest that is missing.
	err = r.readFile()
	r.next()
	r.files = append(r.files, all...)
	if err == nil && len(all) > 0 {
		err = r.emit(Record{Time: time.Now().UTC(), Stream: Note, Data: []byte(skipped)})
	}
	return len(all) > 0, err
}

// skipped is said to a follower who reads so slowly that a file was removed
// before its turn.
const skipped = "output was skipped: it was written, and removed by rotation, faster than it was read\n"

// readFile emits the complete lines of files[0] up to its present end.
func (r *reader) readFile() error {
	b := bufio.NewReaderSize(r.files[0], 32<<10)
	for {
		part, err := b.ReadSlice('\n')
		if r.long = r.long || len(r.line)+len(part) > maxLine; r.long {
			r.line = r.line[:0]
		} else {
			r.line = append(r.line, part...)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		line := r.line
		r.line, r.long = r.line[:0], false
		if err := r.emitLine(line); err != nil {
			return err
		}
	}
}

func (r *reader) emitLine(line []byte) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	rec, ok := parse(line)
	if !ok || rec.Time.Before(r.q.Since) {
		return nil
	}
	if !r.q.Until.IsZero() && rec.Time.After(r.q.Until) {
		return errUntil
	}
	return r.emit(rec)
}
