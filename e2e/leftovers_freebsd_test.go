package e2e

import (
	"strings"
	"testing"

	"github.com/joyboyid/xc/freebsd/mount"
	"github.com/joyboyid/xc/jail"
)

// leftovers lists the mounts and the jails in an engine's directory, and the jails
// with its tag. One that is dying was removed.
func leftovers(t *testing.T, dir, tag string) (left []string) {
	t.Helper()
	for info, err := range jail.All() {
		if err != nil {
			t.Fatal(err)
		}
		if !info.Dying && (strings.HasPrefix(info.Path, dir+"/") || strings.HasPrefix(info.Name, "xc-"+tag+"-")) {
			left = append(left, "jail "+info.Name)
		}
	}
	mounts, err := mount.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.Path, dir+"/") {
			left = append(left, "mount "+m.Path)
		}
	}
	return left
}
