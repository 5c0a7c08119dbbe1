package bench

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/joyboyid/xc/ipc"
)

// BenchmarkCall is a small call over a UNIX socket, one in flight and a
// hundred, next to ttrpc.
func BenchmarkCall(b *testing.B) {
	for name, dial := range map[string]func(b *testing.B) func() error{"xc": ours, "ttrpc": theirs} {
		b.Run("one/"+name, func(b *testing.B) {
			call := dial(b)
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("hundred/"+name, func(b *testing.B) {
			call := dial(b)
			b.SetParallelism(50) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

type message struct {
	Text string `json:"text"`
}

func ours(b *testing.B) func() error {
	path := socket(b)
	l, err := ipc.Listen(path, ipc.ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s := &ipc.Server{Handler: func(ctx context.Context, r *ipc.Request) (any, []*os.File, error) {
		var in message
		if err := r.Decode(&in); err != nil {
			return nil, nil, err
		}
		return in, nil, nil
	}}
	go s.Serve(context.Background(), l) //nolint:errcheck // ends with the listener
	b.Cleanup(func() { l.Close() })
	c, err := ipc.Open(context.Background(), path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return func() error {
		var out message
		_, err := c.Call(context.Background(), "Echo", message{"hello"}, nil, &out)
		return err
	}
}

func theirs(b *testing.B) func() error {
	s, err := ttrpc.NewServer()
	if err != nil {
		b.Fatal(err)
	}
	s.Register("bench", map[string]ttrpc.Method{"Echo": func(ctx context.Context, unmarshal func(any) error) (any, error) {
		in := new(wrapperspb.StringValue)
		return in, unmarshal(in)
	}})
	l, err := net.Listen("unix", socket(b))
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(context.Background(), l) //nolint:errcheck // ends with the server
	b.Cleanup(func() { s.Close() })
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c := ttrpc.NewClient(conn)
	b.Cleanup(func() { c.Close() })
	return func() error {
		return c.Call(context.Background(), "bench", "Echo", wrapperspb.String("hello"), new(wrapperspb.StringValue))
	}
}

func socket(b *testing.B) string {
	dir, err := os.MkdirTemp("", "xcb")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}
