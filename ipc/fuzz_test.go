package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzServer writes anything to a server.
func FuzzServer(f *testing.F) {
	leaks(f)
	hello := raw(kindHello, 0, 0, goodHello)
	f.Add(frames(hello, raw(kindCall, 0, 1, "A.B\n{}"), raw(kindCancel, 0, 1, "")))
	f.Add(frames(hello, raw(kindCall, 0, 1, "A.B 100\n"), raw(kindCredit, 0, 1, "5")))
	f.Add(frames(hello, raw(kindCall, 1, 1, "A.B\n")))
	f.Add(hello[:18])
	s := &Server{
		Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
			var v any
			err := r.Decode(&v)
			return v, r.Files, errors.Join(err, r.Emit(v))
		},
		Limits: Limits{Body: 1 << 16, Hello: time.Second, Stall: time.Second},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mine, its, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.ServeConn(context.Background(), its) }()
		_, _ = mine.conn.Write(data) // it may close early
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
	})
}

// FuzzClient writes anything to a client that waits for an answer.
func FuzzClient(f *testing.F) {
	leaks(f)
	hello := raw(kindHello, 0, 0, goodHello)
	f.Add(frames(hello, raw(kindItem, 0, 1, "1"), raw(kindResult, 0, 1, `"x"`)))
	f.Add(frames(hello, raw(kindError, 0, 1, `{"code":"not_exist"}`)))
	f.Add(frames(hello, raw(kindResult, 2, 1, "null")))
	f.Add(frames(hello, raw(kindDrain, 0, 0, ""), raw(kindBye, 0, 0, "")))
	f.Add(frames(raw(kindResult, 0, 1, ""), hello))
	f.Fuzz(func(t *testing.T, data []byte) {
		mine, its, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(mine, Limits{Body: 1 << 16})
		done := make(chan error, 1)
		go func() {
			var out any
			files, err := c.Stream(context.Background(), "A.B", nil, nil, func(raw []byte, _ []*os.File) error {
				var v any
				return json.Unmarshal(raw, &v)
			}, &out)
			closeFiles(files)
			done <- err
		}()
		_, _ = its.conn.Write(data) // it may close early
		if err := its.Close(); err != nil {
			t.Fatal(err)
		}
		<-done // with a result, or without: it ends
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzHello meets a peer that says anything.
func FuzzHello(f *testing.F) {
	leaks(f)
	for _, s := range []string{goodHello, `{"ipc":1}`, `{"ipc":2,"body":1,"files":1,"window":1}`, `{"ipc":1,"body":1,"files":-1,"window":9223372036854775807,"more":[]}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		mine, its, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		if err := mine.greet(Limits{Hello: time.Second}, window); err != nil {
			t.Fatal(err)
		}
		_, _ = its.conn.Write(raw(kindHello, 0, 0, string(body[:min(len(body), 64<<10)])))
		if err := its.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if p := &mine.peer; mine.meet() == nil && (p.Version != version || p.Body <= 0 || p.Files < 0 || p.Window <= 0 || len(body) > helloMax) {
			t.Errorf("%+v of %q", p, body)
		}
		mine.r.close()
		if err := errors.Join(mine.Close(), its.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzHeader parses a header; what is taken says the same when it is written.
func FuzzHeader(f *testing.F) {
	leaks(f)
	f.Add(raw(kindCall, 3, 7, "")[:headerSize])
	f.Add(raw(kindBye, 0, 0, "x")[:headerSize])
	l := Limits{}.filled()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		h, err := parseHeader(b, l)
		if err != nil {
			return
		}
		again := make([]byte, headerSize)
		if h.put(again); !bytes.Equal(again, b[:headerSize]) || int(h.size) > l.Body || int(h.files) > l.Files {
			t.Errorf("%x is %+v", b[:headerSize], h)
		}
	})
}

// FuzzRights parses control data.
func FuzzRights(f *testing.F) {
	leaks(f)
	f.Add(unix.UnixRights(0, 1, 2))
	f.Add(append(unix.UnixRights(7), unix.UnixRights(8, 9)...))
	f.Add(make([]byte, 15))
	f.Fuzz(func(t *testing.T, oob []byte) {
		fds, err := parseRights(append([]byte(nil), oob...))
		if err == nil && 4*len(fds) > len(oob) {
			t.Errorf("%d descriptors in %d bytes", len(fds), len(oob))
		}
	})
}

// FuzzCallBody parses the body of a call.
func FuzzCallBody(f *testing.F) {
	leaks(f)
	for _, s := range []string{"A.B\n{}", "A.B 1000\n", "\n", " \n", "A.B 99999999999999999999\n", "A.B 9223372036854775807\n[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		method, timeout, params, err := parseCall(body)
		if err != nil {
			return
		}
		if method == "" || strings.ContainsAny(method, " \n") || timeout < 0 || len(params) >= len(body) {
			t.Errorf("%q, %v, %q", method, timeout, params)
		}
	})
}

// FuzzErrorBody decodes what a server calls an error, and encodes it again.
func FuzzErrorBody(f *testing.F) {
	leaks(f)
	f.Add([]byte(`{"code":"not_exist","also":["full"],"message":"m","op":"o","object":"x","errno":"ENOENT"}`))
	f.Add([]byte(`{"errno":"EFOO"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		err := parseError(body)
		var errno unix.Errno
		_ = errors.As(err, &errno)
		if CodeOf(err) == "" || err.Error() == "" {
			t.Errorf("%#v", err)
		}
		if _, merr := json.Marshal(wireError(err)); merr != nil {
			t.Error(merr)
		}
	})
}
