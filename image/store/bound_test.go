package store_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
	"github.com/joyboyid/xc/ocitar"
)

// untouched fails the test if there is anything in the store, unfinished or not.
func untouched(t *testing.T, m *store.Images) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Join(m.Blobs.Dir(), "ingest")); err != nil || len(left) != 0 {
		t.Errorf("left in ingest: %v, %v", left, err)
	}
	nothing(t, m)
}

// header is a tar header as archive/tar's Writer refuses to write it, and what follows.
func header(kind byte, name string, old func(h []byte), data string) string {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", len(data)))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	if old != nil {
		old(h)
	}
	copy(h[148:], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(h) + data + strings.Repeat("\x00", (512-len(data)%512)%512)
}

// pax is the records of an extended header.
func pax(records ...string) string {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + len(" \n") + 1
		n += len(fmt.Sprint(n)) - 1
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return header('x', "pax", nil, b.String())
}

// A sparse file of all forms that there are: 8 MiB, of which the archive has nothing.
func TestLoadRefusesSparse(t *testing.T) {
	const name = "blobs/sha256/0123456789012345678901234567890123456789012345678901234567890123"
	gnu := func(h []byte) {
		copy(h[257:], "ustar  \x00")
		copy(h[386:], "00040000000\x0000000000000\x00") // one piece, empty, at the end
		copy(h[483:], "00040000000\x00")
	}
	for form, archive := range map[string]string{
		"GNU":     header('S', name, gnu, ""),
		"PAX 0.0": pax("GNU.sparse.size=8388608", "GNU.sparse.numblocks=1", "GNU.sparse.offset=8388608", "GNU.sparse.numbytes=0") + header('0', name, nil, ""),
		"PAX 0.1": pax("GNU.sparse.size=8388608", "GNU.sparse.numblocks=1", "GNU.sparse.map=8388608,0", "GNU.sparse.name="+name) + header('0', "x", nil, ""),
		"PAX 1.0": pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name="+name, "GNU.sparse.realsize=8388608") +
			header('0', "x", nil, "1\n8388608\n0\n"+strings.Repeat("\x00", 512-len("1\n8388608\n0\n"))),
	} {
		archive += strings.Repeat("\x00", 1024)
		h, err := tar.NewReader(strings.NewReader(archive)).Next()
		if err != nil || h.Name != name || h.Size != 8<<20 {
			t.Fatalf("%s: the test has written %+v, %v", form, h, err)
		}
		m, _ := imagetest.Open(t)
		_, err = m.LoadArchive(t.Context(), strings.NewReader(archive), loadOptions())
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%s: %v", form, err)
		}
		untouched(t, m)
	}
}

func TestLoadLimit(t *testing.T) {
	from, _ := imagetest.Open(t)
	layer := imagetest.NewLayer(t, ispec.MediaTypeImageLayer, map[string]string{"a": strings.Repeat("1", 100_000)})
	img := add(t, from, "one:1", imagetest.NewImage(t, amd64, layer))
	var archive bytes.Buffer
	if err := from.Save(t.Context(), &archive, []store.Image{img}); err != nil {
		t.Fatal(err)
	}
	size := int64(archive.Len())
	for _, mediaType := range []string{ispec.MediaTypeImageLayer, ispec.MediaTypeImageLayerGzip, ispec.MediaTypeImageLayerZstd} {
		compressed := imagetest.Compress(t, mediaType, archive.Bytes())
		for limit, fits := range map[int64]bool{size: true, -1: true, 0: true, size - 1: false, 50_000: false, 1000: false} {
			m, _ := imagetest.Open(t)
			o := loadOptions()
			o.Bytes = limit
			_, err := m.LoadArchive(t.Context(), bytes.NewReader(compressed), o)
			if fits && err != nil || !fits && !errors.Is(err, ocitar.ErrLimit) {
				t.Errorf("%s of %d bytes, limit %d: %v", mediaType, size, limit, err)
			}
			if !fits {
				untouched(t, m)
			}
		}
	}
}

// Names are kept until an archive is read, so that they may not be as long as they like.
func TestLoadRefusesLongNames(t *testing.T) {
	long := strings.Repeat("x/", 600)
	for kind, archive := range map[string][]byte{
		"file": entries(t, [2]string{long + "f", "1"}),
		"link": entries(t, [2]string{"l", "->" + long}),
	} {
		m, _ := imagetest.Open(t)
		if _, err := m.LoadArchive(t.Context(), bytes.NewReader(archive), loadOptions()); !errors.Is(err, ocitar.ErrLimit) {
			t.Errorf("%s: %v", kind, err)
		}
		untouched(t, m)
	}
}

// zeros is n of them, compressed with zstd to next to nothing, after what is before.
func zeros(t *testing.T, before string, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(before)); err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(chunk)) {
		if _, err := z.Write(chunk[:min(n, int64(len(chunk)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a few bytes decompress to is not taken for long, of an archive of images or of a
// root file system.
func TestGrowth(t *testing.T) {
	big := header('Z', "of a type that is left out", func(h []byte) { copy(h[124:], "03777777777\x00") }, "")
	archive := zeros(t, big, 300<<20)
	m, _ := imagetest.Open(t)
	if _, err := m.LoadArchive(t.Context(), bytes.NewReader(archive), loadOptions()); !errors.Is(err, ocitar.ErrLimit) {
		t.Errorf("load: %v", err)
	}
	o := store.ImportOptions{Name: ref(t, "a:1"), Platform: amd64}
	if _, err := m.Import(t.Context(), bytes.NewReader(archive), o); !errors.Is(err, ocitar.ErrLimit) {
		t.Errorf("import: %v", err)
	}
	untouched(t, m)
}

// endless is a pipe whose writer does not end, as xz(1) can be for long.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestImportLimit(t *testing.T) {
	m, _ := imagetest.Open(t)
	plain := imagetest.Tar(t, map[string]string{"a": strings.Repeat("1", 100_000)})
	for kind, archive := range map[string]io.Reader{
		"plain":       bytes.NewReader(plain),
		"without end": endless{},
		"gzip":        bytes.NewReader(imagetest.Compress(t, ispec.MediaTypeImageLayerGzip, plain)),
		"zstd":        bytes.NewReader(imagetest.Compress(t, ispec.MediaTypeImageLayerZstd, plain)),
	} {
		o := store.ImportOptions{Name: ref(t, "a:1"), Platform: amd64, Bytes: int64(len(plain)) - 1}
		if _, err := m.Import(t.Context(), archive, o); !errors.Is(err, ocitar.ErrLimit) {
			t.Errorf("%s: %v", kind, err)
		}
		untouched(t, m)
	}
	o := store.ImportOptions{Name: ref(t, "a:1"), Platform: amd64, Bytes: int64(len(plain))}
	if _, err := m.Import(t.Context(), bytes.NewReader(plain), o); err != nil {
		t.Error(err)
	}
}
