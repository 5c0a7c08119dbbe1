package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/joyboyid/xc/ipc"
)

// BenchmarkCall is a call over a UNIX socket, its server in the same process. Each
// iteration is one round in which every peer makes the same number of calls, one
// peer after the other, beginning with another each time, so that a loaded machine
// slows all alike. What is printed are medians over the rounds: nanoseconds and
// allocations of a call (client and server together), and the ratios.
//
// In a burst each makes but two calls: how it begins and ends weighs more.
//
// ttrpc and gRPC do not pass descriptors. Their users pass a path, which the server
// opens: that is their side of "file". "bare" is sendmsg, recvmsg and nothing else.
func BenchmarkCall(b *testing.B) {
	small, large := "hello", strings.Repeat("x", 64<<10)
	for _, shape := range []struct {
		name        string
		calls, each int // goroutines, and calls of each in a round
		peers       []peer
	}{
		{"small/one", 1, 100, []peer{{"xc", xcEcho(small)}, {"ttrpc", ttrpcEcho(small)}, {"grpc", grpcEcho(small)}}},
		{"small/hundred", 100, 20, []peer{{"xc", xcEcho(small)}, {"ttrpc", ttrpcEcho(small)}, {"grpc", grpcEcho(small)}}},
		{"64K/one", 1, 20, []peer{{"xc", xcEcho(large)}, {"ttrpc", ttrpcEcho(large)}, {"grpc", grpcEcho(large)}}},
		{"64K/hundred", 100, 20, []peer{{"xc", xcEcho(large)}, {"ttrpc", ttrpcEcho(large)}, {"grpc", grpcEcho(large)}}},
		{"64K/burst", 100, 2, []peer{{"xc", xcEcho(large)}, {"ttrpc", ttrpcEcho(large)}, {"grpc", grpcEcho(large)}}},
		{"file/one", 1, 100, []peer{{"xc", xcFile}, {"ttrpc", ttrpcPath}, {"grpc", grpcPath}, {"bare", bareFile}}},
		{"file/hundred", 100, 20, []peer{{"xc", xcFile}, {"ttrpc", ttrpcPath}, {"grpc", grpcPath}}},
	} {
		b.Run(shape.name, func(b *testing.B) { race(b, shape.peers, shape.calls, shape.each) })
	}
}

// peer is one side of a comparison; dial starts a server and returns a call.
type peer struct {
	name string
	dial func(b *testing.B) (call func() error)
}

// race measures all peers in turns.
func race(b *testing.B, peers []peer, calls, each int) {
	rounds := make([]func(), len(peers))
	for i, p := range peers {
		rounds[i] = crowd(b, p.dial(b), calls, each)
		rounds[i]() // connected, buffers grown
	}
	took, allocs := make([][]float64, len(peers)), make([][]float64, len(peers))
	n := float64(calls * each)
	first := 0
	for b.Loop() {
		for i := range peers {
			i = (first + i) % len(peers)
			before, begin := mallocs(), time.Now()
			rounds[i]()
			took[i] = append(took[i], float64(time.Since(begin).Nanoseconds())/n)
			allocs[i] = append(allocs[i], (mallocs()-before)/n)
		}
		first++
	}
	own := median(took[0])
	for i, p := range peers {
		b.ReportMetric(median(took[i]), p.name+"-ns")
		b.ReportMetric(median(allocs[i]), p.name+"-allocs")
		if i > 0 {
			b.ReportMetric(own/median(took[i]), peers[0].name+"/"+p.name)
		}
	}
	b.ReportMetric(0, "ns/op") // of a round of everybody: of no interest
}

// crowd starts goroutines that each make some calls whenever the returned function
// is called, which returns when all are done.
func crowd(b *testing.B, call func() error, calls, each int) func() {
	start := make([]chan struct{}, calls)
	var round, all sync.WaitGroup
	for i := range start {
		start[i] = make(chan struct{}, 1)
		all.Go(func() {
			for range start[i] {
				for range each {
					if err := call(); err != nil {
						b.Error(err)
						break
					}
				}
				round.Done()
			}
		})
	}
	b.Cleanup(func() {
		for _, c := range start {
			close(c)
		}
		all.Wait()
	})
	return func() {
		round.Add(calls)
		for _, c := range start {
			c <- struct{}{}
		}
		round.Wait()
	}
}

func mallocs() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Mallocs)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

type message struct {
	Text string `json:"text"`
}

// xc returns a client of a server with one method.
func xc(b *testing.B, h ipc.Handler) *ipc.Client {
	path := socket(b)
	l, err := ipc.Listen(path, ipc.ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s := &ipc.Server{Handler: h}
	go s.Serve(context.Background(), l) //nolint:errcheck // ends with the listener
	b.Cleanup(func() { l.Close() })
	c, err := ipc.Open(context.Background(), path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func xcEcho(text string) func(*testing.B) func() error {
	return func(b *testing.B) func() error {
		c := xc(b, func(_ context.Context, r *ipc.Request) (any, []*os.File, error) {
			var in message
			if err := r.Decode(&in); err != nil {
				return nil, nil, err
			}
			return in, nil, nil
		})
		return func() error {
			var out message
			_, err := c.Call(context.Background(), "Echo", message{text}, nil, &out)
			return err
		}
	}
}

func xcFile(b *testing.B) func() error {
	c := xc(b, func(_ context.Context, r *ipc.Request) (any, []*os.File, error) {
		if len(r.Files) != 1 {
			return nil, nil, fmt.Errorf("%d files", len(r.Files))
		}
		return nil, nil, nil
	})
	f := null(b)
	return func() error {
		_, err := c.Call(context.Background(), "File", nil, []*os.File{f}, nil)
		return err
	}
}

func ttrpcEcho(text string) func(*testing.B) func() error {
	return func(b *testing.B) func() error {
		c := ttrpcClient(b, func(in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return in, nil })
		return func() error {
			return c.Call(context.Background(), "bench", "Call", wrapperspb.String(text), new(wrapperspb.StringValue))
		}
	}
}

func ttrpcPath(b *testing.B) func() error {
	c := ttrpcClient(b, open)
	return func() error {
		return c.Call(context.Background(), "bench", "Call", wrapperspb.String(os.DevNull), new(wrapperspb.StringValue))
	}
}

func ttrpcClient(b *testing.B, do func(*wrapperspb.StringValue) (*wrapperspb.StringValue, error)) *ttrpc.Client {
	s, err := ttrpc.NewServer()
	if err != nil {
		b.Fatal(err)
	}
	s.Register("bench", map[string]ttrpc.Method{"Call": func(_ context.Context, unmarshal func(any) error) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := unmarshal(in); err != nil {
			return nil, err
		}
		return do(in)
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
	return c
}

func grpcEcho(text string) func(*testing.B) func() error {
	return func(b *testing.B) func() error {
		c := grpcClient(b, func(in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return in, nil })
		return func() error {
			return c.Invoke(context.Background(), "/bench/Call", wrapperspb.String(text), new(wrapperspb.StringValue))
		}
	}
}

func grpcPath(b *testing.B) func() error {
	c := grpcClient(b, open)
	return func() error {
		return c.Invoke(context.Background(), "/bench/Call", wrapperspb.String(os.DevNull), new(wrapperspb.StringValue))
	}
}

func grpcClient(b *testing.B, do func(*wrapperspb.StringValue) (*wrapperspb.StringValue, error)) *grpc.ClientConn {
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			return do(in)
		},
	}}}, struct{}{})
	l, err := net.Listen("unix", socket(b))
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends with the server
	b.Cleanup(s.Stop)
	c, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// open is what a server does that gets a path instead of a file.
func open(in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	f, err := os.Open(in.Value)
	if err != nil {
		return nil, err
	}
	return new(wrapperspb.StringValue), f.Close()
}

// bareFile sends a descriptor with a byte and gets a byte back.
func bareFile(b *testing.B) func() error {
	l, err := net.Listen("unix", socket(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		p, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
		for {
			if _, _, _, _, err := c.(*net.UnixConn).ReadMsgUnix(p, oob); err != nil {
				return
			}
			messages, err := unix.ParseSocketControlMessage(oob)
			if err != nil {
				return
			}
			fds, err := unix.ParseUnixRights(&messages[0])
			if err != nil || unix.Close(fds[0]) != nil {
				return
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	f := null(b)
	p := make([]byte, 1)
	return func() error {
		if _, _, err := c.(*net.UnixConn).WriteMsgUnix(p, unix.UnixRights(int(f.Fd())), nil); err != nil {
			return err
		}
		_, err := c.Read(p)
		return err
	}
}

func null(b *testing.B) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func socket(b *testing.B) string {
	dir, err := os.MkdirTemp("", "xcb")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}
