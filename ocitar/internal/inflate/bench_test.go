package inflate

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// BenchmarkGzip is side by side with the decoders that could be used instead, on the program
// that runs it. XC_BENCH_GZIP names a file to take.
func BenchmarkGzip(b *testing.B) {
	data := benchData(b)
	block := make([]byte, History+256<<10)
	for _, c := range []struct {
		who string
		all func() (int64, error)
	}{
		{"inflate", func() (n int64, err error) {
			r := NewGzip(pieces(data, 256<<10))
			for err == nil {
				var m int
				m, err = r.Fill(block)
				n += int64(m)
			}
			if err == io.EOF {
				err = nil
			}
			return n, err
		}},
		{"klauspost", func() (int64, error) {
			r, err := kgzip.NewReader(bytes.NewReader(data))
			if err != nil {
				return 0, err
			}
			return drain(r, block)
		}},
		{"compress", func() (int64, error) {
			r, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				return 0, err
			}
			return drain(r, block)
		}},
	} {
		b.Run(c.who, func(b *testing.B) {
			before := cpu()
			for b.Loop() {
				n, err := c.all()
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
			b.ReportMetric((cpu()-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// drain reads as ocitar does; io.Copy would let klauspost's write, without a copy.
func drain(r io.Reader, block []byte) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, block)
}

func benchData(b *testing.B) []byte {
	b.Helper()
	name := os.Getenv("XC_BENCH_GZIP")
	given := name != ""
	if !given {
		var err error
		if name, err = os.Executable(); err != nil {
			b.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	if given {
		return data
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data)
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// pieces is a source of pieces of n bytes.
func pieces(data []byte, n int) Source {
	return func() ([]byte, error) {
		if len(data) == 0 {
			return nil, io.EOF
		}
		p := data[:min(n, len(data))]
		data = data[len(p):]
		return p, nil
	}
}

// cpu is the processor time of the process, which other processes disturb less.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
