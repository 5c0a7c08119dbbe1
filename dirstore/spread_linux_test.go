package dirstore_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/dirstore"
)

// The flag that chattr(1) shows as T, on the directory that layers and roots
// are in.
func TestSpread(t *testing.T) {
	const fsTopDir = 0x00020000
	dir := t.TempDir()
	flags := func(dir string) uint32 {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			t.Skip("the file system has no flags: ", err)
		}
		return n
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC {
		t.Skip("not ext4")
	}
	if _, err := dirstore.Open(dir, &dirstore.Options{Mode: dirstore.Copy}); err != nil {
		t.Fatal(err)
	}
	if got := flags(dir); got&fsTopDir == 0 {
		t.Errorf("flags %#x: subdirectories are not spread", got)
	}
	dirstore.Spread(dir + "/missing") // a hint: nothing to complain of
}
