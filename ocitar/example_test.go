package ocitar_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/joyboyid/xc/ocitar"
)

// A file is replaced and another removed; the layer that says so turns a copy of the
// old tree into the new one.
func Example() {
	top, err := os.MkdirTemp("", "ocitar")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(top)
	old, now, root := filepath.Join(top, "old"), filepath.Join(top, "new"), filepath.Join(top, "root")
	for _, dir := range []string{old, now, root} {
		os.Mkdir(dir, 0o755)
	}
	os.WriteFile(filepath.Join(old, "gone"), nil, 0o644)
	os.WriteFile(filepath.Join(root, "gone"), nil, 0o644)
	os.WriteFile(filepath.Join(now, "motd"), []byte("hello\n"), 0o644)

	ctx := context.Background()
	var layer bytes.Buffer
	p := ocitar.Packer{Compression: ocitar.Zstd, Epoch: time.Unix(0, 0)}
	packed, err := p.Pack(ctx, &layer, now, ocitar.Compare(old, now))
	if err != nil {
		panic(err)
	}
	var u ocitar.Unpacker
	unpacked, err := u.Unpack(ctx, root, &layer)
	if err != nil {
		panic(err)
	}
	fmt.Println(packed.MediaType, packed.Files, packed.Whiteouts)
	fmt.Println(unpacked.DiffID == packed.DiffID, unpacked.Digest == packed.Digest)
	left, _ := filepath.Glob(filepath.Join(root, "*"))
	fmt.Println(len(left), filepath.Base(left[0]))
	// Output:
	// application/vnd.oci.image.layer.v1.tar+zstd 1 1
	// true true
	// 1 motd
}
