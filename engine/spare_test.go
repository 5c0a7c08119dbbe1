package engine_test

import (
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// A run loop that was kept ready and has died is no reason for a start to fail.
func TestIntegrationDeadSpare(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	sh(t, e, api.ContainerSpec{}, "true")
	for range 5 {
		killSpare(t)
		if out, exit := sh(t, e, api.ContainerSpec{}, "echo there"); out != "there\n" || exit.Code != 0 {
			t.Errorf("got %q, %+v", out, exit)
		}
	}
}
