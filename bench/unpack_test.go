package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/joyboyid/xc/ocitar"
)

// layer returns a tar archive of a real tree, XC_BENCH_LAYER or /usr/lib of
// this machine, plain and compressed.
func layer(b *testing.B, dir string) string {
	b.Helper()
	if path := os.Getenv("XC_BENCH_LAYER"); path != "" {
		return path
	}
	path := filepath.Join(dir, "layer.tar")
	if _, err := os.Stat(path); err != nil {
		command(b, "tar", "-C", "/usr", "-cf", path, "share/doc", "share/perl", "lib/gcc")
	}
	return path
}

// BenchmarkUnpack unpacks a layer with its digests computed, next to bsdtar,
// which computes none. The target is a tmpfs where /dev/shm is one.
func BenchmarkUnpack(b *testing.B) {
	dir, err := os.MkdirTemp("/dev/shm", "xcbench")
	if err != nil {
		b.Skip(err)
	}
	defer os.RemoveAll(dir)
	plain := layer(b, dir)
	archives := map[string]string{"plain": plain, "gzip": filepath.Join(dir, "l.gz"), "zstd": filepath.Join(dir, "l.zst")}
	command(b, "sh", "-c", fmt.Sprintf("gzip -c %s >%s && zstd -qf %s -o %s", plain, archives["gzip"], plain, archives["zstd"]))
	info, err := os.Stat(plain)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"plain", "gzip", "zstd"} {
		each := func(name string, unpack func(into string) error) {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.SetBytes(info.Size())
				for n := 0; b.Loop(); n++ {
					into := filepath.Join(dir, fmt.Sprintf("out%d", n))
					if err := os.Mkdir(into, 0o755); err != nil {
						b.Fatal(err)
					}
					if err := unpack(into); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					if err := os.RemoveAll(into); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			})
		}
		each("xc", func(into string) error {
			f, err := os.Open(archives[kind])
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = new(ocitar.Unpacker).Unpack(context.Background(), into, f)
			return err
		})
		if path, err := exec.LookPath("bsdtar"); err == nil {
			each("bsdtar", func(into string) error {
				return exec.Command(path, "-xpf", archives[kind], "-C", into).Run()
			})
		}
	}
}
