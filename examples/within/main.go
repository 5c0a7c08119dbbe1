// Command within shows inroot alone: names are resolved inside a root directory,
// whatever the links in it say, and what they lead to is read up to a limit.
//
//	go run ./examples/within                                     # a root of its own
//	go run ./examples/within DIRECTORY ../../etc/passwd [NAME ...]
//
// It needs no privileges and runs on every system. With / for a root try
// /dev/zero: it is refused, and so would be a FIFO or a file of 10 GB.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/inroot"
)

const limit = 64 << 10 // bytes of a file that are read at most

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "within:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return demo()
	}
	if len(args) == 1 {
		return errors.New("usage: within [directory name ...]")
	}
	root, err := inroot.Open(args[0])
	if err != nil {
		return err
	}
	for _, name := range args[1:] {
		err = errors.Join(err, show(root, name))
	}
	return errors.Join(err, root.Close())
}

// show prints where a name leads. The path is for the eye: by the time it is
// printed somebody may have renamed what it names. So the file is read by the
// name again, and not by the path.
func show(root *inroot.Root, name string) error {
	path, err := root.Look(name)
	if err != nil {
		return err
	}
	data, err := root.ReadFile(name, limit)
	if err != nil {
		return err
	}
	fmt.Printf("%-20s is %-12s %5d bytes: %.24q\n", name, path, len(data), data)
	return nil
}

// demo makes a root whose links would all lead out of it, were they followed by
// the kernel.
func demo() (err error) {
	dir, err := os.MkdirTemp("", "within")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("the root's own\n"), 0o644); err != nil {
		return err
	}
	for link, target := range map[string]string{
		"absolute": "/etc/passwd",
		"upwards":  "../../../../etc/passwd",
		"top":      "/..",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	return run([]string{dir, "etc/passwd", "../../etc/passwd", "absolute", "upwards", "top/etc/passwd"})
}
