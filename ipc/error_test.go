package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// full is the error of a package with a code of its own, which is a kind of
// fs.ErrExist as well.
type full struct{ pool string }

func (f full) Error() string      { return "pool " + f.pool + " is full" }
func (full) Code() string         { return "pool_full" }
func (full) Is(target error) bool { return target == fs.ErrExist }
func (f full) OpObject() (string, string) {
	return "take", f.pool
}

func TestErrorsCross(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code string
		is   []error
		not  []error
		op   string
		obj  string
	}{
		{"not exist", fmt.Errorf("image a: %w", fs.ErrNotExist), CodeNotExist, []error{fs.ErrNotExist, os.ErrNotExist}, []error{fs.ErrExist, syscall.ENOENT}, "", ""},
		{"path", fmt.Errorf("look: %w", &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}), CodeNotExist, []error{fs.ErrNotExist, syscall.ENOENT}, []error{syscall.EIO}, "open", "/x"},
		{"link", &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.EEXIST}, CodeExist, []error{fs.ErrExist, syscall.EEXIST}, nil, "rename", "b"},
		{"syscall", os.NewSyscallError("jail_set", syscall.EPERM), CodePermission, []error{fs.ErrPermission, syscall.EPERM}, []error{syscall.EACCES}, "jail_set", ""},
		{"errno alone", syscall.ENOSPC, CodeInternal, []error{syscall.ENOSPC}, []error{fs.ErrExist}, "", ""},
		{"aliased errno", syscall.EWOULDBLOCK, CodeInternal, []error{syscall.EAGAIN}, nil, "", ""},
		{"unsupported errno", unix.ENOTSUP, CodeUnsupported, []error{errors.ErrUnsupported, unix.EOPNOTSUPP}, nil, "", ""},
		{"unsupported", errors.ErrUnsupported, CodeUnsupported, []error{errors.ErrUnsupported}, nil, "", ""},
		{"invalid", syscall.EINVAL, CodeInvalid, []error{fs.ErrInvalid, syscall.EINVAL}, nil, "", ""},
		{"closed", net.ErrClosed, CodeClosed, []error{fs.ErrClosed, net.ErrClosed, os.ErrClosed}, nil, "", ""},
		{"canceled", context.Canceled, CodeCanceled, []error{context.Canceled}, []error{context.DeadlineExceeded}, "", ""},
		{"deadline", context.DeadlineExceeded, CodeDeadline, []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}, nil, "", ""},
		{"eof", io.EOF, CodeEOF, []error{io.EOF}, []error{io.ErrUnexpectedEOF}, "", ""},
		{"unexpected eof", io.ErrUnexpectedEOF, CodeUnexpectedEOF, []error{io.ErrUnexpectedEOF}, []error{io.EOF}, "", ""},
		{"own code", fmt.Errorf("run: %w", full{"p"}), "pool_full", []error{full{}, fs.ErrExist, &Error{Code: "pool_full"}}, []error{fs.ErrNotExist}, "take", "p"},
		{"several", errors.Join(fs.ErrNotExist, context.Canceled), CodeNotExist, []error{fs.ErrNotExist, context.Canceled}, nil, "", ""},
		{"plain", errors.New("strange"), CodeInternal, nil, []error{fs.ErrExist, io.EOF}, "", ""},
		{"no method", NoMethod("A.B"), CodeNoMethod, []error{errors.ErrUnsupported}, nil, "call", "A.B"},
	}
	next := make(chan error, 1)
	c := client(t, func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, <-next })
	relay := clientOf(t, &Server{Handler: func(ctx context.Context, r *Request) (any, []*os.File, error) {
		_, err := c.Call(ctx, r.Method, nil, nil, nil)
		return nil, nil, fmt.Errorf("relay: %w", err)
	}})
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			next <- tc.err
			_, direct := c.Call(limited(t), "A.B", nil, nil, nil)
			next <- tc.err
			_, relayed := relay.Call(limited(t), "A.B", nil, nil, nil)
			if direct.Error() != tc.err.Error() || relayed.Error() != "relay: "+tc.err.Error() {
				t.Errorf("texts %q and %q", direct, relayed)
			}
			for _, err := range []error{direct, relayed} {
				var e *Error
				if !errors.As(err, &e) || e.Code != tc.code || e.Op != tc.op || e.Object != tc.obj || CodeOf(err) != tc.code {
					t.Errorf("%#v", err)
				}
				for _, target := range tc.is {
					if !errors.Is(err, target) {
						t.Errorf("%#v is not %v", err, target)
					}
				}
				for _, target := range append(tc.not, errors.New("strange")) {
					if errors.Is(err, target) {
						t.Errorf("%#v is %v", err, target)
					}
				}
			}
		})
	}
}

func TestErrorAsErrno(t *testing.T) {
	leaks(t)
	var errno syscall.Errno
	if err := error(&Error{Code: CodeInternal, Errno: "ENOSPC"}); !errors.As(err, &errno) || errno != syscall.ENOSPC {
		t.Errorf("%v", errno)
	}
	if err := error(&Error{Code: CodeInternal, Errno: "EDOOFUSX"}); errors.As(err, &errno) {
		t.Errorf("unknown name is %v", errno)
	}
}

// Names do not depend on the system; numbers do.
func TestErrnoNames(t *testing.T) {
	leaks(t)
	for e, want := range map[syscall.Errno]string{
		unix.EWOULDBLOCK: "EAGAIN", unix.ENOTSUP: "EOPNOTSUPP", unix.EDEADLK: "EDEADLK",
		unix.ENOENT: "ENOENT", unix.ENAMETOOLONG: "ENAMETOOLONG", unix.ENOTEMPTY: "ENOTEMPTY", unix.ELOOP: "ELOOP",
	} {
		if got := errnoName(e); got != want {
			t.Errorf("%d is %q, want %q", int(e), got, want)
		}
	}
}

func TestErrorJSON(t *testing.T) {
	leaks(t)
	b, err := json.Marshal(wireError(fmt.Errorf("run: %w", full{"p"})))
	want := `{"code":"pool_full","also":["exist"],"message":"run: pool p is full","op":"take","object":"p"}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if CodeOf(nil) != "" {
		t.Error("nil has a code")
	}
	e := parseError([]byte(`{}`))
	if CodeOf(e) != CodeInternal || e.Error() != CodeInternal {
		t.Errorf("%#v", e)
	}
	if slices.Contains(wireError(e).Also, "") {
		t.Error("empty code")
	}
}
