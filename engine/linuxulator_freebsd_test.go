package engine_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// linuxProgram is a static program for Linux on amd64: it writes a line and
// exits with 7. Its ELF header says that it is for Linux.
func linuxProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	text := []byte("a Linux program\n")
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1: write
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0x48, 0x8d, 0x35, 21, 0, 0, 0, // lea rsi, [rip+21]: behind the code
		0xba, byte(len(text)), 0, 0, 0, // mov edx, len
		0x0f, 0x05, // syscall
		0xb8, 60, 0, 0, 0, // mov eax, 60: exit
		0xbf, 7, 0, 0, 0, // mov edi, 7
		0x0f, 0x05, // syscall
		0x90, 0x90,
	}
	body := append(code, text...)
	size := uint64(headers + len(body))
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01\x03"), make([]byte, 8)...) // 64 bits, little-endian, ELFOSABI_LINUX
	b = le.AppendUint16(b, 2)                                          // ET_EXEC
	b = le.AppendUint16(b, 62)                                         // EM_X86_64
	b = le.AppendUint32(b, 1)
	for _, v := range []uint64{base + headers, 64, 0} { // entry, program headers, section headers
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, body...)
}

func TestIntegrationLinuxImage(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is for amd64")
	}
	e := testEngine(t)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	b := linuxProgram()
	err := errors.Join(w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(b))}), func() error { _, err := w.Write(b); return err }(), w.Close())
	path := filepath.Join(t.TempDir(), "root.tar")
	if err = errors.Join(err, os.WriteFile(path, buf.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := e.ImportImage(t.Context(), api.ImportSpec{Name: "linux", Archive: f, Platform: "linux/amd64"}); err != nil {
		t.Fatal(err)
	}
	c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Image: "linux", Command: []string{"/hello"}})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs the Linuxulator: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = e.StartContainer(t.Context(), c.ID, api.StartOptions{Stdio: api.Stdio{Stdout: out}})
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	exit, werr := e.WaitContainer(t.Context(), c.ID, api.WaitOptions{})
	if err = errors.Join(err, werr); err != nil || string(text) != "a Linux program\n" || exit.Code != 7 {
		t.Errorf("%q, %+v, %v", text, exit, err)
	}
}
