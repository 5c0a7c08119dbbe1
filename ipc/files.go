package ipc

import (
	"encoding/json"
	"fmt"
	"os"
)

// Ref stands for a file in JSON: the place of its descriptor in the frame, or
// null for no file. The zero Ref is no file, also when the key is missing.
// Generated code uses it.
type Ref struct{ n int } // place + 1

// MarshalJSON writes the place or null.
func (r Ref) MarshalJSON() ([]byte, error) {
	if r.n == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(r.n - 1)
}

// UnmarshalJSON reads a place or null.
func (r *Ref) UnmarshalJSON(b []byte) error {
	var n *int
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	r.n = 0
	if n == nil {
		return nil
	}
	if *n < 0 || *n > maxRights {
		return fmt.Errorf("descriptor %d", *n)
	}
	r.n = *n + 1
	return nil
}

// Files is the list of a frame's files, for generated code: Put turns files into
// Refs on one side, Get turns them back on the other.
type Files struct {
	List []*os.File
	got  []bool // by Get
	err  error
}

// Put adds a file; nil is the zero Ref.
func (s *Files) Put(f *os.File) Ref {
	if f == nil {
		return Ref{}
	}
	s.List = append(s.List, f)
	return Ref{len(s.List)}
}

// Get returns the file of a Ref. One that does not exist is remembered by Err.
func (s *Files) Get(r Ref) *os.File {
	if r.n == 0 {
		return nil
	}
	if r.n > len(s.List) {
		s.err = &Error{Code: CodeInvalid, Message: fmt.Sprintf("descriptor %d, %d came with the frame", r.n-1, len(s.List))}
		return nil
	}
	s.mark()
	s.got[r.n-1] = true
	return s.List[r.n-1]
}

func (s *Files) mark() {
	if len(s.got) < len(s.List) {
		s.got = make([]bool, len(s.List))
	}
}

// Err returns the first trouble of Get, after all of it.
func (s *Files) Err() error { return s.err }

// Done ends a result: with an error, its own or that of the call, every file is
// closed, otherwise those that nobody got.
func (s *Files) Done(err error) error {
	if err == nil {
		err = s.err
	}
	s.mark()
	for i, f := range s.List {
		if err != nil || !s.got[i] {
			_ = f.Close() // nothing was written through it
		}
	}
	return err
}

// NoMethod is the error of a handler for a method that it does not have. It is
// an errors.ErrUnsupported on both sides.
func NoMethod(method string) error {
	return &Error{Code: CodeNoMethod, Also: []string{CodeUnsupported}, Op: "call", Object: method, Message: "no method " + method}
}

// DecodeItem decodes an item of a stream.
func DecodeItem(raw []byte, v any) error {
	if err := decode(raw, v); err != nil {
		return fmt.Errorf("item: %w", err)
	}
	return nil
}
