package logfile

import (
	"bytes"
	"io"
	"os"
)

// skipToTail positions the files at the start of the last n lines chosen, and
// closes those before. It reads from the end, so its cost is that of the tail.
func (r *reader) skipToTail(n int) error {
	lines := 0
	for i := len(r.files) - 1; i >= 0; i-- {
		size, err := r.files[i].Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		start, found, err := backward(r.files[i], size, func(line []byte) bool {
			rec, ok := parse(line)
			switch {
			case !ok, !r.q.Until.IsZero() && rec.Time.After(r.q.Until):
				return false
			case rec.Time.Before(r.q.Since):
				return true
			case lines == 0 || bytes.HasSuffix(rec.Data, []byte{'\n'}):
				lines++
			}
			return lines > n
		})
		if err != nil {
			return err
		}
		if _, err := r.files[i].Seek(start, io.SeekStart); err != nil {
			return err
		}
		if found {
			(&reader{files: r.files[:i]}).close()
			r.files = r.files[i:]
			return nil
		}
	}
	return nil
}

// backward calls stop for the complete lines before size, last first. It
// returns the offset after the line at which stop was true, or 0.
func backward(f *os.File, size int64, stop func(line []byte) bool) (after int64, found bool, err error) {
	const block = 32 << 10
	var rest []byte // from pos to the first newline that was passed
	pos, first := size, true
	for pos > 0 {
		n := min(block, pos)
		pos -= n
		b := make([]byte, n, int(n)+len(rest))
		if _, err := f.ReadAt(b, pos); err != nil {
			return 0, false, err
		}
		b = append(b, rest...)
		for {
			i := bytes.LastIndexByte(b, '\n')
			if i < 0 {
				break
			}
			line := b[i+1:]
			b = b[:i]
			if first { // what follows the last newline is incomplete
				first = false
			} else if stop(line) {
				return pos + int64(i) + 1 + int64(len(line)) + 1, true, nil
			}
		}
		if rest = b; len(rest) > maxLine {
			rest = rest[:0] // garbage; its head will not parse either
		}
	}
	if !first && stop(rest) {
		return int64(len(rest)) + 1, true, nil
	}
	return 0, false, nil
}
