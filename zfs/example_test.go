package zfs_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/joyboyid/xc/zfs"
)

// A Run of one's own sees the command lines, here to print them.
func ExampleZFS_Run() {
	z := zfs.ZFS{Run: func(_ context.Context, _ io.Reader, _ io.Writer, args ...string) error {
		fmt.Println("zfs", strings.Join(args, " "))
		return nil
	}}
	ctx := context.Background()
	_ = z.Snapshot(ctx, "tank/images/alpine@frozen")
	_ = z.Clone(ctx, "tank/images/alpine@frozen", "tank/containers/c1", nil)
	// Output:
	// zfs snapshot tank/images/alpine@frozen
	// zfs clone -o canmount=noauto tank/images/alpine@frozen tank/containers/c1
}
