package ocitar

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Span is data of a sparse file: N bytes at Off.
type Span struct {
	Off int64 `json:"off"`
	N   int64 `json:"n"`
}

// maxSpans bounds a sparse map: 16 MiB of memory.
const maxSpans = 1 << 20

// gnuSparse reads the map of an old GNU sparse header (GNU tar manual, "Basic Tar
// Format", struct oldgnu_header) and the extension blocks that follow it.
func (r *reader) gnuSparse(h []byte, e *Entry) error {
	size, err := number(h[483:495])
	if err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("size of sparse file %d: %w", size, ErrFormat)
	}
	e.Size, e.sparse = size, true
	slots, more := h[386:482], h[482] != 0
	for {
		for len(slots) >= 24 && slots[0] != 0 {
			off, err := number(slots[:12])
			if err != nil {
				return err
			}
			n, err := number(slots[12:24])
			if err != nil {
				return err
			}
			e.Spans = append(e.Spans, Span{off, n})
			slots = slots[24:]
		}
		if !more {
			return nil
		}
		if len(e.Spans) > maxSpans {
			return fmt.Errorf("sparse map of more than %d spans: %w", maxSpans, ErrLimit)
		}
		if err := r.record(r.ext[:]); err != nil {
			return err
		}
		slots, more = r.ext[:504], r.ext[504] != 0
	}
}

// paxSparse recognises GNU's pax formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing
// Sparse Files"). The map of 1.0 is in front of the data and shortens stored.
func (r *reader) paxSparse(p *pax, e *Entry, stored *int64) error {
	major, minor := p.values["GNU.sparse.major"], p.values["GNU.sparse.minor"]
	list, hasMap := p.values["GNU.sparse.map"]
	v1 := major == "1" && minor == "0"
	if !v1 && !hasMap && p.sparse == nil && p.values["GNU.sparse.size"] == "" {
		if major != "" {
			return fmt.Errorf("sparse format %.10s.%.10s: %w", major, minor, ErrFormat)
		}
		return nil
	}
	e.sparse = true
	if name := p.values["GNU.sparse.name"]; name != "" {
		e.Name = name
	}
	size := p.values["GNU.sparse.realsize"]
	if size == "" {
		size = p.values["GNU.sparse.size"]
	}
	var err error
	if e.Size, err = paxInt("size of sparse file", size); err != nil {
		return err
	}
	switch {
	case v1:
		e.Spans, err = r.mapInFront(stored)
	case hasMap:
		e.Spans, err = parseMap(list)
	default:
		e.Spans = p.sparse
	}
	return err
}

// parseMap reads "offset,bytes,offset,bytes".
func parseMap(list string) ([]Span, error) {
	var spans []Span
	var half int64
	i := 0
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("sparse map %.40q: %w", f, ErrFormat)
		}
		if i++; i%2 == 1 {
			half = n
			continue
		}
		spans = append(spans, Span{half, n})
	}
	if i%2 != 0 || len(spans) > maxSpans {
		return nil, fmt.Errorf("sparse map of %d numbers: %w", i, ErrFormat)
	}
	return spans, nil
}

// mapInFront reads lines of one number each, the first counting the spans, up to
// the end of their last 512-byte record.
func (r *reader) mapInFront(stored *int64) ([]Span, error) {
	var spans []Span
	var nums []int64
	want, line := int64(1), make([]byte, 0, 24)
	for int64(len(nums)) < want {
		if *stored < recordSize {
			return nil, fmt.Errorf("sparse map beyond the data: %w", ErrFormat)
		}
		*stored -= recordSize
		if err := r.record(r.ext[:]); err != nil {
			return nil, err
		}
		for _, c := range r.ext[:] {
			if c != '\n' {
				if line = append(line, c); len(line) > 20 {
					return nil, fmt.Errorf("sparse map %q: %w", line, ErrFormat)
				}
				continue
			}
			n, err := strconv.ParseInt(string(line), 10, 64)
			if err != nil || len(nums) == 0 && (n < 0 || n > maxSpans) {
				return nil, fmt.Errorf("sparse map %q: %w", line, ErrFormat)
			}
			if nums = append(nums, n); len(nums) == 1 {
				want = 1 + 2*n
			}
			if line = line[:0]; int64(len(nums)) == want {
				break
			}
		}
	}
	for i := 1; i+1 < len(nums); i += 2 {
		spans = append(spans, Span{nums[i], nums[i+1]})
	}
	return spans, nil
}

// checkSpans refuses a map that is out of order, overlaps, leaves the file or has
// another length than the data. Empty spans, with which archivers mark the end, go.
func (e *Entry) checkSpans() error {
	var end, sum int64
	kept := e.Spans[:0]
	for _, s := range e.Spans {
		if s.N < 0 || s.Off < end || s.Off > e.Size || s.N > e.Size-s.Off {
			return fmt.Errorf("sparse span of %d bytes at %d in a file of %d: %w", s.N, s.Off, e.Size, ErrFormat)
		}
		end, sum = s.Off+s.N, sum+s.N
		if s.N > 0 {
			kept = append(kept, s)
		}
	}
	if sum != e.Stored {
		return fmt.Errorf("sparse map of %d bytes for %d stored: %w", sum, e.Stored, ErrFormat)
	}
	e.Spans = kept
	return nil
}

// content hands the entry's stored bytes to write, with where each belongs.
func (r *reader) content(e *Entry, write func(b []byte, off int64) error) error {
	spans := e.Spans
	if !e.sparse {
		spans = []Span{{0, e.Stored}}
	}
	for _, s := range spans {
		off := s.Off
		err := r.s.each(min(s.N, r.left), func(b []byte) error {
			r.left -= int64(len(b))
			if err := write(b, off); err != nil {
				return err
			}
			off += int64(len(b))
			return nil
		})
		if err != nil {
			return noEOF(err)
		}
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("archive is truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}
