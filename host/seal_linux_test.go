package host

import (
	"bytes"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pinned is a program whose first copies have a page that a pipe holds, as
// the kernel's reclaim holds one for a moment.
type pinned struct {
	*bytes.Reader
	left int
	pipe *os.File
}

func (p *pinned) WriteTo(w io.Writer) (int64, error) {
	n, err := p.Reader.WriteTo(w)
	if err != nil || p.left == 0 {
		return n, err
	}
	p.left--
	var at int64
	_, err = unix.Splice(int(w.(*os.File).Fd()), &at, int(p.pipe.Fd()), nil, 1, 0)
	return n, err
}

func TestSealedCopyPinned(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	program := bytes.Repeat([]byte("program "), 4096)
	src := &pinned{Reader: bytes.NewReader(program), left: 2, pipe: w}
	f, err := sealedCopy(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if src.left != 0 {
		t.Error("the first copies were sealed though a page of theirs was held")
	}
	got := make([]byte, len(program)+1)
	if n, err := f.ReadAt(got, 0); n != len(program) || err != io.EOF || !bytes.Equal(got[:n], program) {
		t.Errorf("copy: %d bytes, %v; want %d, the same", n, err, len(program))
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a sealed copy can be written")
	}
}
