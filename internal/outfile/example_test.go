package outfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/internal/outfile"
)

// A report is written anew, which fails: the old one stays.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "report")
	report := func(text string, err error) error {
		f, openErr := outfile.Create(name)
		if openErr != nil {
			return openErr
		}
		_, writeErr := f.WriteString(text)
		return f.Finish(errors.Join(writeErr, err))
	}
	fmt.Println(report("all is well", nil))
	fmt.Println(report("all is", errors.New("cut short")))
	text, err := os.ReadFile(name)
	fmt.Println(string(text), err)
	// Output:
	// <nil>
	// cut short
	// all is well <nil>
}

func ExampleInterruptible() {
	ctx, stop := outfile.Interruptible(context.Background())
	defer stop()
	f, err := outfile.Create(os.DevNull)
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Finish(ctx.Err()), f.Is("a file that is packed"))
	// Output: <nil> false
}
