package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/joyboyid/xc/ipc"
)

// A server and its client in one process, without generated code.
func Example() {
	ctx := context.Background()
	mine, its, err := ipc.Pair()
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &ipc.Server{Handler: func(_ context.Context, r *ipc.Request) (any, []*os.File, error) {
		switch r.Method {
		case "Text.Write": // writes to the file that came with the call
			var text string
			if err := r.Decode(&text); err != nil {
				return nil, nil, err
			}
			n, err := io.WriteString(r.Files[0], text)
			return n, nil, err
		case "Text.Open":
			f, err := os.Open("/nonexistent")
			if err != nil {
				return nil, nil, err
			}
			return nil, []*os.File{f}, nil // given
		}
		return nil, nil, ipc.NoMethod(r.Method)
	}}
	done := make(chan error)
	go func() { done <- s.ServeConn(ctx, its) }()

	c := ipc.NewClient(mine, ipc.Limits{})
	var n int
	if _, err := c.Call(ctx, "Text.Write", "hello\n", []*os.File{os.Stdout}, &n); err != nil {
		fmt.Println(err)
	}
	fmt.Println(n, "bytes")
	_, err = c.Call(ctx, "Text.Open", nil, nil, nil)
	fmt.Println(errors.Is(err, fs.ErrNotExist), err)

	fmt.Println(c.Close(), <-done)
	// Output:
	// hello
	// 6 bytes
	// true open /nonexistent: no such file or directory
	// <nil> <nil>
}
