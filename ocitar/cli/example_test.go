package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/ocitar/cli"
)

// A directory is packed under another name and unpacked elsewhere, as xc cp does.
func ExampleMain() {
	from, err := os.MkdirTemp("", "from")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(from)
	if err := os.WriteFile(filepath.Join(from, "motd"), []byte("hello"), 0o644); err != nil {
		panic(err)
	}
	var archive bytes.Buffer
	fmt.Println(cli.Main([]string{"create", "--plain", "--as", "etc", "-C", from, "."}, nil, &archive, io.Discard))
	to, err := os.MkdirTemp("", "to")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(to)
	fmt.Println(cli.Main([]string{"extract", "--plain", "--merge", "--no-owner", "--unconfined", "-C", to}, &archive, io.Discard, os.Stderr))
	text, err := os.ReadFile(filepath.Join(to, "etc/motd"))
	fmt.Println(string(text), err)
	// Output:
	// 0
	// 0
	// hello <nil>
}
