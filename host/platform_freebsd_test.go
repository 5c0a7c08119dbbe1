package host

import (
	"errors"
	"runtime"
	"testing"

	"github.com/joyboyid/xc/host/tenant"
)

// What is said of an image that cannot run, where the Linuxulator is loaded and
// where it is not.
func TestCanRun(t *testing.T) {
	const here, other = runtime.GOARCH, "s390x"
	for _, tc := range []struct {
		os, arch string
		linux    bool
		want     string
	}{
		{"freebsd", here, false, ""},
		{"linux", here, true, ""},
		{"linux", here, false, "an image for linux/" + here + " needs the Linuxulator: kldload linux64 linprocfs linsysfs (or service linux onestart): unsupported operation"},
		{"linux", other, true, "an image for linux/s390x cannot run on freebsd/" + here + ": unsupported operation"},
		{"freebsd", other, true, "an image for freebsd/s390x cannot run on freebsd/" + here + ": unsupported operation"},
		{"windows", here, true, "an image for windows/" + here + " cannot run on freebsd/" + here + ": unsupported operation"},
	} {
		err := canRun(tc.os, tc.arch, tc.linux)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tc.want || err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s/%s, Linuxulator %v: %q, want %q", tc.os, tc.arch, tc.linux, got, tc.want)
		}
	}
	if got, want := new(Host).CanRun("linux", here), canRun("linux", here, tenant.Linuxulator()); (got == nil) != (want == nil) {
		t.Errorf("on this kernel: %v, want %v", got, want)
	}
}
