package volume_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/volume"
)

// What is under a name belongs to who has its id.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "volumes")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	d := &volume.Dirs{Dir: dir}
	if err := d.Create(ctx, "db", "c4f2", volume.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	data, err := d.Path(ctx, "db")
	if err != nil {
		fmt.Println(err)
		return
	}
	rel, _ := filepath.Rel(dir, data)
	fmt.Println(filepath.ToSlash(rel))

	fmt.Println(d.Remove(ctx, "db", "another")) // not that one: it stays
	_, err = d.Path(ctx, "db")
	fmt.Println(err)
	fmt.Println(d.Remove(ctx, "db", "c4f2"))
	// Output:
	// db/data
	// <nil>
	// <nil>
	// <nil>
}
