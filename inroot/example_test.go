package inroot_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/inroot"
)

func Example() {
	dir, err := os.MkdirTemp("", "root")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Mkdir(filepath.Join(dir, "run"), 0o755)
	os.Mkdir(filepath.Join(dir, "var"), 0o755)
	os.Symlink("/run", filepath.Join(dir, "var/run")) // absolute: the root's own /run
	os.WriteFile(filepath.Join(dir, "run/pid"), []byte("17\n"), 0o644)

	r, err := inroot.Open(dir)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	data, err := r.ReadFile("/../../var/run/pid", 100)
	fmt.Printf("%s%v\n", data, err)
	path, err := r.Look("var/run/pid")
	fmt.Println(path, err)
	// Output:
	// 17
	// <nil>
	// /run/pid <nil>
}
