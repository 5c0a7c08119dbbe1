package ipc

import (
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

// FuzzRights parses control data.
func FuzzRights(f *testing.F) {
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
