package host

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/freebsd/rctl"
)

// A kernel that does not count what jails use refuses limits before anything
// starts, and it is said how it would.
func TestIntegrationLimitsWithoutCounting(t *testing.T) {
	if rctl.Enabled() {
		t.Skip("needs a kernel that was booted without kern.racct.enable=1")
	}
	h := testHost(t)
	for _, l := range []Limits{{Memory: 1 << 30}, {CPUs: 1}, {Pids: 100}} {
		err := h.CheckLimits(l)
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "put kern.racct.enable=1 into /boot/loader.conf") {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if err := h.CheckLimits(Limits{}); err != nil {
		t.Errorf("no limits: %v", err)
	}
	list := h.Check(t.Context())
	if !slices.ContainsFunc(list, func(c Check) bool {
		return c.Name == "kern.racct.enable" && c.State == missing && strings.Contains(c.Fix, "/boot/loader.conf")
	}) {
		t.Errorf("it is not said to be missing: %+v", list)
	}
}
