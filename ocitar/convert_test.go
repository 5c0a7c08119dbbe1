package ocitar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestConvert: what we wrote is converted to the same bytes; what others wrote to what
// unpacks alike.
func TestConvert(t *testing.T) {
	src := newRoot(t)
	richTree(t, src)
	layer, sum := packed(t, &Packer{}, src, Tree(src))
	zipped, _ := packed(t, &Packer{Compression: Zstd}, src, Tree(src))
	var out bytes.Buffer
	got, err := new(Packer).Convert(context.Background(), &out, bytes.NewReader(zipped), Limits{})
	if err != nil || !bytes.Equal(out.Bytes(), layer) {
		t.Fatalf("%v, %d bytes, want %d", err, out.Len(), len(layer))
	}
	if got.DiffID != sum.DiffID || got.Files != sum.Files || got.Links != sum.Links || got.Bytes != sum.Bytes || got.Entries != sum.Entries {
		t.Errorf("%+v\n%+v", got, sum)
	}
	for what, theirs := range map[string][]byte{
		"odd": archive(m{name: "./a//b", data: "1"}, m{name: "/abs", typ: '2', link: "a"}, m{name: ".wh.gone"}, m{name: "a/.wh..wh..opq"}, m{name: "l", typ: '1', link: "./a/b"},
			m{name: "s", data: "xy", pax: map[string]string{"GNU.sparse.size": "900", "GNU.sparse.map": "3,2"}}, m{name: "odd", typ: 'V'}, m{name: "old", typ: 'S', data: "abc", change: func(h []byte) {
				copy(h[257:265], "ustar  \x00")
				clear(h[345:])
				putNumber(h[386:398], 100)
				putNumber(h[398:410], 3)
				putNumber(h[483:495], 5000)
			}}),
		"tar": gnuTar(t, src),
	} {
		if theirs == nil {
			continue
		}
		var out bytes.Buffer
		if _, err := new(Packer).Convert(context.Background(), &out, bytes.NewReader(theirs), Limits{}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		a, _, err := unpackInto(t, theirs)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := unpackInto(t, out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(a+"/ro", 0o755); os.Chmod(b+"/ro", 0o755) })
		at, bt := deepTree(t, a, nil), deepTree(t, b, nil)
		if what == "odd" { // the root has no entry there
			delete(at, ".")
			delete(bt, ".")
		}
		sameTrees(t, at, bt)
	}
	for what, c := range map[string]struct {
		layer []byte
		err   error
	}{
		"..": {archive(m{name: "../x"}), ErrName}, "link to ..": {archive(m{name: "l", typ: '1', link: "../x"}), ErrName},
		"root": {archive(m{name: "./", typ: '2', link: "x"}), ErrName}, "garbage": {bytes.Repeat([]byte("x"), 600), ErrFormat}, "cut": {layer[:len(layer)-3000], io.ErrUnexpectedEOF},
	} {
		var le *Error
		if _, err := new(Packer).Convert(context.Background(), io.Discard, bytes.NewReader(c.layer), Limits{}); !errors.Is(err, c.err) || !errors.As(err, &le) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := Packer{UIDs: []IDMap{{0, 1000, 1}}, Epoch: time.Unix(5, 0)}
	mapped := archive(m{name: "f", pax: map[string]string{"uid": "1000", "SCHILY.acl.access": "user::rw-,user:x:r--:1000,group::r--,mask::r--,other::---"}})
	out.Reset()
	if _, err := p.Convert(context.Background(), &out, bytes.NewReader(mapped), Limits{}); err != nil {
		t.Fatal(err)
	}
	for e, err := range List(context.Background(), &out, Limits{}) {
		if err != nil || e.UID != 0 || e.ModTime.Unix() != 5 || e.ACLs["access"] != "user::rw-,user:0:r--,group::r--,mask::r--,other::---" {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

func gnuTar(t *testing.T, src string) []byte {
	out, err := exec.Command("tar", "--version").Output()
	if err != nil || !bytes.Contains(out, []byte("GNU")) {
		return nil
	}
	out, err = exec.Command("tar", "--sparse", "--format", "gnu", "-C", src, "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestContent: an index, also one that was written down, finds what is in each file.
func TestContent(t *testing.T) {
	src := newRoot(t)
	richTree(t, src)
	layer, _ := packed(t, &Packer{}, src, Tree(src))
	n := 0
	for e, err := range List(context.Background(), bytes.NewReader(layer), Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		name := e.Name
		e = Entry{}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != Regular {
			continue
		}
		n++
		want, err := os.ReadFile(src + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		r := e.Content(bytes.NewReader(layer))
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
		if len(want) > 3000 {
			part := make([]byte, 1000)
			if _, err := r.ReadAt(part, int64(len(want)-1500)); err != nil || !bytes.Equal(part, want[len(want)-1500:len(want)-500]) {
				t.Errorf("%q: a part differs, %v", name, err)
			}
		}
		if e.Stored > 0 {
			if _, err := io.ReadAll(e.Content(bytes.NewReader(layer[:e.Data+e.Stored-1]))); err == nil && e.Stored != e.Size {
				t.Errorf("%q: cut short, and no error", name)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d files", n)
	}
}
