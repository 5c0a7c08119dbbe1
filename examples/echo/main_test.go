package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEcho(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- run(ctx, []string{"serve", path}, nil, nil) }()
	for { // until it listens
		if _, err := os.Stat(path); err == nil {
			if _, err := call(t, "", "say", path, "up"); err == nil {
				break
			}
		}
	}
	if got, err := call(t, "", "say", path, "hello", "you"); err != nil || got != "[hello you]\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := call(t, "from here", "copy", path); err != nil || got != "from here" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := call(t, "", "serve", path); err == nil || !strings.Contains(err.Error(), "living server") {
		t.Errorf("a second server: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// call runs the program with stdin and returns its stdout.
func call(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	in, fill, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fill.WriteString(stdin); err != nil {
		t.Fatal(err)
	}
	_ = fill.Close()
	rerr := run(t.Context(), args, in, stdout)
	_, _ = in.Close(), stdout.Close()
	b, err := io.ReadAll(out) // ends: nobody else holds the other end
	if err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	return string(b), rerr
}
