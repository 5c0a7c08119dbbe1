package dirstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testXattrs lists the attributes of the user's namespace.
func testXattrs(t *testing.T, name string) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := unix.ExtattrListLink(name, unix.EXTATTR_NAMESPACE_USER, uintptr(unsafe.Pointer(&b[0])), len(b))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return ""
	}
	must(t, err)
	var list []string
	for b = b[:n]; len(b) > 0; b = b[1+b[0]:] {
		attr := string(b[1 : 1+b[0]])
		v := make([]byte, 4096)
		n, err := unix.ExtattrGetLink(name, unix.EXTATTR_NAMESPACE_USER, attr, uintptr(unsafe.Pointer(&v[0])), len(v))
		must(t, err)
		list = append(list, fmt.Sprintf("%s=%x", attr, v[:n]))
	}
	return strings.Join(list, " ")
}
