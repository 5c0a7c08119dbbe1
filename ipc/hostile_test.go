package ipc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const goodHello = `{"ipc":1,"body":1000000,"files":64,"window":1000}`

// raw builds a frame as a foreign peer would.
func raw(k kind, files int, id uint64, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, byte(k), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(files))
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, body...)
}

func frames(list ...[]byte) []byte { return bytes.Join(list, nil) }

// step is one sendmsg of a hostile peer.
type step struct {
	data  []byte
	files int
}

// play sends steps, then waits for the other side to close.
func play(t *testing.T, c *Conn, steps []step) {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFiles([]*os.File{f})
	for _, s := range steps {
		fds := make([]int, s.files)
		for i := range fds {
			fds[i] = int(f.Fd())
		}
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		if _, _, err := c.conn.WriteMsgUnix(s.data, oob, nil); err != nil {
			break // it has closed already
		}
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server keeps the connection")
	}
}

func TestHostileClients(t *testing.T) {
	hello := raw(kindHello, 0, 0, goodHello)
	call := raw(kindCall, 0, 1, "A.Wait\n")
	random := make([]byte, 10000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(random); i++ {
		random[i] = byte(r.Uint32())
	}
	huge := raw(kindCall, 0, 1, "")
	binary.BigEndian.PutUint32(huge, 1<<32-1)
	long := raw(kindCall, 0, 1, "")
	binary.BigEndian.PutUint32(long, 4<<20)
	flags := raw(kindCall, 0, 1, "A.B\n")
	flags[5] = 1
	tests := map[string][]step{
		"random bytes":                  {{data: random}},
		"random bytes after the hello":  {{data: frames(hello, random)}},
		"no hello":                      {{data: call}},
		"another version":               {{data: raw(kindHello, 0, 0, `{"ipc":2,"body":1,"files":1,"window":1}`)}},
		"hello with nonsense":           {{data: raw(kindHello, 0, 0, `{"ipc":1,"body":-1,"files":1,"window":1}`)}},
		"hello that is not JSON":        {{data: raw(kindHello, 0, 0, `hello`)}},
		"long hello":                    {{data: raw(kindHello, 0, 0, strings.Repeat(" ", 5000)+goodHello)}},
		"hello with descriptors":        {{hello, 1}},
		"second hello":                  {{data: frames(hello, hello)}},
		"length beyond the limit":       {{data: frames(hello, huge)}},
		"flags":                         {{data: frames(hello, flags)}},
		"kind 0":                        {{data: frames(hello, raw(0, 0, 1, ""))}},
		"kind 77":                       {{data: frames(hello, raw(77, 0, 1, ""))}},
		"a server's frame":              {{data: frames(hello, raw(kindResult, 0, 1, "{}"))}},
		"call without an id":            {{data: frames(hello, raw(kindCall, 0, 0, "A.B\n"))}},
		"id in use":                     {{data: frames(hello, call, call)}},
		"no method line":                {{data: frames(hello, raw(kindCall, 0, 1, `{"a":1}`))}},
		"empty method":                  {{data: frames(hello, raw(kindCall, 0, 1, "\n"))}},
		"endless method":                {{data: frames(hello, raw(kindCall, 0, 1, strings.Repeat("x", 1000)+"\n"))}},
		"bad time":                      {{data: frames(hello, raw(kindCall, 0, 1, "A.B -1\n"))}},
		"descriptors without a frame":   {{hello, 0}, {call[:0:0], 0}, {call, 5}},
		"descriptors before the hello":  {{hello[:1], 3}, {hello[1:], 0}},
		"descriptors inside a header":   {{data: frames(hello, call[:8])}, {call[8:], 3}},
		"fewer descriptors than said":   {{data: hello}, {raw(kindCall, 4, 1, "A.Wait\n"), 3}},
		"more descriptors than said":    {{data: hello}, {raw(kindCall, 2, 1, "A.Wait\n"), 3}},
		"descriptors that did not come": {{data: frames(hello, raw(kindCall, 1, 1, "A.Wait\n"), raw(kindCall, 0, 2, "A.Wait\n"))}},
		"100 descriptors":               {{data: hello}, {raw(kindCall, 100, 1, "A.Wait\n"), 100}},
		"250 descriptors":               {{data: hello}, {raw(kindCall, 64, 1, "A.Wait\n"), 250}},
		"descriptors with a cancel":     {{data: frames(hello, call)}, {raw(kindCancel, 1, 1, ""), 1}},
		"credit that is not a number":   {{data: frames(hello, call, raw(kindCredit, 0, 1, "x"))}},
		"negative credit":               {{data: frames(hello, call, raw(kindCredit, 0, 1, "-5"))}},
		"endless credit":                {{data: frames(hello, call, raw(kindCredit, 0, 1, "1000000000"), raw(kindCredit, 0, 1, "1000000000"), raw(kindCredit, 0, 1, "1000000000"))}},
		"calls, then the end":           {{data: frames(hello, call, raw(kindCall, 1, 7, "A.Wait\n{}")), files: 0}},
	}
	leaks(t)
	s := &Server{
		Handler: func(ctx context.Context, r *Request) (any, []*os.File, error) {
			if r.Method == "A.Wait" {
				<-ctx.Done()
			}
			return "good", nil, nil
		},
	}
	dial, served := listening(t, s)
	good := dial()
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			c := hostile(t, s)
			play(t, c, steps)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			var out string
			if _, err := good.Call(limited(t), "A.B", nil, nil, &out); err != nil || out != "good" {
				t.Errorf("another client: %q, %v", out, err)
			}
		})
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	<-served
}

// Who begins and does not go on is given up. The times are so short that nobody
// else could rely on them.
func TestStalledClients(t *testing.T) {
	hello := raw(kindHello, 0, 0, goodHello)
	call := raw(kindCall, 0, 1, "A.Wait\n")
	long := raw(kindCall, 0, 1, "")
	binary.BigEndian.PutUint32(long, 4<<20)
	tests := map[string][]step{
		"nothing":                   {{}},
		"half a hello":              {{data: hello[:20]}},
		"half a header":             {{data: frames(hello, call[:7])}},
		"half a body":               {{data: frames(hello, call[:20])}},
		"descriptors inside a body": {{data: frames(hello, long)}, {[]byte("A.B\n"), 3}},
		"length without a body":     {{data: frames(hello, long)}},
	}
	leaks(t)
	s := &Server{
		Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil },
		Limits:  Limits{Hello: 50 * time.Millisecond, Stall: 50 * time.Millisecond},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			c := hostile(t, s)
			play(t, c, steps)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// hostile serves one end of a pair whatever comes of it.
func hostile(t *testing.T, s *Server) *Conn {
	t.Helper()
	mine, its, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeConn(context.Background(), its) }()
	t.Cleanup(func() {
		if err := <-done; err == nil {
			t.Log("the peer was said to have gone")
		}
	})
	return mine
}

// Cancel and credit may come late.
func TestLateFramesAreIgnored(t *testing.T) {
	leaks(t)
	c := serve(t, &Server{Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil }})
	if _, err := c.conn.Write(frames(raw(kindHello, 0, 0, goodHello), raw(kindCancel, 0, 9, ""), raw(kindCredit, 0, 9, "7"),
		raw(kindCall, 0, 9, "A.B\n"))); err != nil {
		t.Fatal(err)
	}
	c.r.limits = Limits{}.filled()
	c.r.alloc()
	for _, want := range []kind{kindHello, kindResult} {
		f, err := c.r.next()
		if err != nil || f.kind != want {
			t.Fatalf("kind %d, want %d: %v", f.kind, want, err)
		}
		f.release()
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A peer that never reads fills the queue, is dropped after the stall time, and
// holds no memory beyond the limits.
func TestPeerThatNeverReads(t *testing.T) {
	leaks(t)
	s := &Server{
		Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
			return strings.Repeat("x", 100000), nil, nil
		},
		Limits: Limits{Stall: 50 * time.Millisecond},
	}
	c := hostile(t, s)
	data := raw(kindHello, 0, 0, goodHello)
	for id := range uint64(100000) {
		data = append(data, raw(kindCall, 0, id+1, "A.B\n")...)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.conn.Write(data); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d of %d bytes: %v", n, len(data), err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A server that does not keep to the wire, or goes away, ends the client.
func TestHostileServers(t *testing.T) {
	hello := raw(kindHello, 0, 0, goodHello)
	item := raw(kindItem, 0, 1, strings.Repeat("x", 100000))
	tests := map[string][]step{ // what follows the call, if it begins with a hello
		"nothing":            {{}},
		"no hello":           {{data: raw(kindResult, 0, 1, "")}},
		"another version":    {{data: raw(kindHello, 0, 0, `{"ipc":2,"body":1,"files":1,"window":1}`)}},
		"a client's frame":   {{hello, 0}, {raw(kindCancel, 0, 1, ""), 0}},
		"beyond the window":  {{hello, 0}, {frames(item, item, item, item, item, item), 0}},
		"error without JSON": {{hello, 0}, {raw(kindError, 0, 1, "x"), 0}},
		"nobody's files":     {{hello, 0}, {raw(kindResult, 3, 77, "{}"), 3}, {raw(kindItem, 3, 78, "{}"), 3}, {raw(kindHello, 0, 0, ""), 3}},
		"files of an error":  {{hello, 0}, {raw(kindError, 3, 1, `{"code":"x"}`), 3}},
		"files of no use":    {{hello, 0}, {raw(kindItem, 3, 1, "{}"), 3}, {raw(kindResult, 3, 1, "{"), 3}},
		"the end":            {{hello, 0}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			leaks(t)
			mine, its, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			limits := Limits{Stall: 50 * time.Millisecond}
			greets := len(steps) > 0 && bytes.Equal(steps[0].data, hello)
			if !greets {
				limits.Hello = 50 * time.Millisecond
			}
			c := NewClient(mine, limits)
			done := make(chan error, 1)
			go func() {
				var out string
				_, err := c.Stream(limited(t), "A.B", nil, nil, func([]byte, []*os.File) error {
					if name == "beyond the window" {
						<-c.Done()
					}
					return nil
				}, &out)
				done <- errors.Join(err, c.Close())
			}()
			if greets {
				if _, err := its.conn.Write(hello); err != nil {
					t.Fatal(err)
				}
				steps = steps[1:]
				for all := ""; !strings.Contains(all, "A.B"); {
					b := make([]byte, 1000)
					n, err := its.conn.Read(b)
					if err != nil {
						t.Fatal(err)
					}
					all += string(b[:n])
				}
			}
			if name == "the end" {
				if err := its.conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			play(t, its, steps)
			if err := <-done; err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the call: %v", err)
			}
			if err := its.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
