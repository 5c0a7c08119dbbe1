package mount_test

import (
	"fmt"

	"github.com/joyboyid/xc/freebsd/mount"
)

func ExampleAt() {
	root, err := mount.At("/")
	fmt.Println(root.Path, err)
	// Output: / <nil>
}
