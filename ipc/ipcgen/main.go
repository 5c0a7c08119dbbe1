// Command ipcgen writes the client and the server's dispatch of a Go interface,
// so that its methods can be called over package ipc:
//
//	//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Clock
//
//	// Clock tells the time.
//	type Clock interface {
//		// Now returns the time in a zone.
//		Now(ctx context.Context, zone string) (time.Time, error)
//		// Ticks emits the time every second.
//		Ticks(ctx context.Context, emit func(time.Time) error) error
//		// Log appends the ticks to a file.
//		Log(ctx context.Context, to *os.File) error
//	}
//
// writes clock_ipc.go with
//
//	const MethodClockNow = "Clock.Now" // and so on
//	type ClockClient struct{ C *ipc.Client } // implements Clock
//	func ClockHandler(impl Clock) ipc.Handler
//
// Methods take a context first and return an error last. Parameters have names,
// which are the keys of the JSON object they cross in; so have results, but a
// single one may do without ("result"). What JSON carries both ways may be used
// as a type. An *os.File crosses as a descriptor: as a parameter or result, in a
// slice, and as a field of a struct, at any depth. A last parameter of type
// func(T) error is called by the server for each item of a stream; so is a
// single result of type iter.Seq2[T, error] for methods that return nothing
// else. Embedded interfaces are flattened; a method's name on the wire begins
// with the interface that declares it. When the error is not nil, the other
// results are lost.
//
// Arguments are lent and results given, as in package ipc.
//
// Adding a method, a result or a field keeps old clients working. A server
// refuses parameters and fields that it does not know.
//
// What cannot cross is refused with file, line and column.
//
// Usage: ipcgen -type NAME [-out FILE] [-doc FILE]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:], ".", os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ipcgen:", err)
		os.Exit(1)
	}
}

// run generates for the package in dir, to which the file names are relative.
func run(args []string, dir string, usage io.Writer) error {
	flags := flag.NewFlagSet("ipcgen", flag.ContinueOnError)
	flags.SetOutput(usage)
	name := flags.String("type", "", "the interface")
	out := flags.String("out", "", "the Go file to write (default: the interface in lower case, _ipc.go)")
	doc := flags.String("doc", "", "a Markdown file to write, with a reference of the methods")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || flags.NArg() > 0 {
		return fmt.Errorf("usage: ipcgen -type NAME [-out FILE] [-doc FILE]")
	}
	if *out == "" {
		*out = strings.ToLower(*name) + "_ipc.go"
	}
	p, err := load(dir, filepath.Base(*out))
	if err != nil {
		return err
	}
	m, err := p.service(*name)
	if err != nil {
		return err
	}
	code, err := emit(m)
	if err != nil {
		return err
	}
	if err := write(dir, *out, code); err != nil {
		return err
	}
	if *doc == "" {
		return nil
	}
	return write(dir, *doc, markdown(m))
}

func write(dir, name string, b []byte) error {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return os.WriteFile(name, b, 0o666)
}
