package tenant

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What is asked of a tenant that was closed, or whose stub has ended, is told that it
// is gone: to kill what is in it succeeds then.
func TestWireThatIsGone(t *testing.T) {
	for name, end := range map[string]func(mine, its *os.File) error{
		"closed here": func(mine, _ *os.File) error { return mine.Close() },
		"stub ended":  func(_, its *os.File) error { return its.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			mine, its := os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "its")
			defer mine.Close()
			defer its.Close()
			w, err := newWire(mine)
			if err != nil {
				t.Fatal(err)
			}
			if err := end(mine, its); err != nil {
				t.Fatal(err)
			}
			if _, err := w.call(request{killAll: true}, nil, nil); !errors.Is(err, errGone) {
				t.Error(err)
			}
		})
	}
}
