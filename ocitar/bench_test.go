package ocitar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// benchTree makes a tree like a distribution's: 4000 files of 5 to 100 KB of text that
// compresses to about half. XC_BENCH_TREE names another.
func benchTree(b *testing.B) string {
	b.Helper()
	if dir := os.Getenv("XC_BENCH_TREE"); dir != "" {
		return dir
	}
	root := newRoot(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 1<<20)
	for i := range words {
		words[i] = byte('a' + rnd.IntN(16))
	}
	for i := range 4000 {
		dir := filepath.Join(root, fmt.Sprint("d", i%200))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		n := 5_000 + rnd.IntN(95_000)
		off := rnd.IntN(len(words) - n)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), words[off:off+n], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

// BenchmarkUnpack is side by side with bsdtar, which computes no digests.
func BenchmarkUnpack(b *testing.B) {
	src := benchTree(b)
	for _, kind := range []Compression{None, Gzip, Zstd} {
		var layer bytes.Buffer
		p := Packer{Compression: kind}
		sum, err := p.Pack(context.Background(), &layer, src, Tree(src))
		if err != nil {
			b.Fatal(err)
		}
		file := filepath.Join(b.TempDir(), "layer")
		if err := os.WriteFile(file, layer.Bytes(), 0o600); err != nil {
			b.Fatal(err)
		}
		each := func(b *testing.B, unpack func(dir string) error) {
			b.SetBytes(sum.TarSize)
			for b.Loop() {
				b.StopTimer()
				dir, err := os.MkdirTemp(b.TempDir(), "")
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := unpack(dir); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		}
		b.Run("ocitar/"+kind.String(), func(b *testing.B) {
			each(b, func(dir string) error {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = new(Unpacker).Unpack(context.Background(), dir, f)
				return err
			})
		})
		b.Run("bsdtar/"+kind.String(), func(b *testing.B) {
			if _, err := exec.LookPath("bsdtar"); err != nil {
				b.Skip("bsdtar is not installed")
			}
			each(b, func(dir string) error { return exec.Command("bsdtar", "-xpf", file, "-C", dir).Run() })
		})
	}
}

// BenchmarkPack is side by side with bsdtar.
func BenchmarkPack(b *testing.B) {
	src := benchTree(b)
	for _, kind := range []Compression{None, Gzip, Zstd} {
		b.Run("ocitar/"+kind.String(), func(b *testing.B) {
			for b.Loop() {
				p := Packer{Compression: kind}
				sum, err := p.Pack(context.Background(), io.Discard, src, Tree(src))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(sum.TarSize)
			}
		})
		b.Run("bsdtar/"+kind.String(), func(b *testing.B) {
			if _, err := exec.LookPath("bsdtar"); err != nil {
				b.Skip("bsdtar is not installed")
			}
			args := []string{"-cf", "/dev/stdout"} // to a pipe: it does not read files for /dev/null
			if kind != None {
				args = append(args, "--"+kind.String())
			}
			for b.Loop() {
				cmd := exec.Command("bsdtar", append(args, "-C", src, ".")...)
				cmd.Stdout = struct{ io.Writer }{io.Discard}
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
