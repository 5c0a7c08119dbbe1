package ipc

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A client in another language, written from the package comment.
func TestForeignClient(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 in PATH to run testdata/call.py with")
	}
	leaks(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: func(_ context.Context, r *Request) (any, []*os.File, error) {
		var in struct{ To Ref }
		if err := r.Decode(&in); err != nil {
			return nil, nil, err
		}
		files := Files{List: r.Files}
		f := files.Get(in.To)
		if f == nil {
			return nil, nil, fmt.Errorf("no file: %w", fs.ErrNotExist)
		}
		for i := range 2 {
			if err := r.Emit(i); err != nil {
				return nil, nil, err
			}
		}
		_, err := f.WriteString("from Go")
		return map[string]bool{"ok": true}, nil, err
	}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	file := filepath.Join(t.TempDir(), "file")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{path, "A.B", `{"to":0}`, file}, "item 0\nitem 1\nresult {\"ok\": true}\n"},
		{[]string{path, "A.B", `{}`}, "error {\"code\": \"not_exist\", \"message\": \"no file: file does not exist\"}\n"},
	} {
		out, err := exec.CommandContext(limited(t), python, append([]string{"testdata/call.py"}, tc.args...)...).CombinedOutput()
		if err != nil || string(out) != tc.want {
			t.Errorf("%v: %v\n%s", tc.args, err, out)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "from Go" {
		t.Errorf("%q, %v", b, err)
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
