package tenant

import (
	"os"
	"testing"

	"github.com/joyboyid/xc/kqueue/kqueuetest"
)

func TestMain(m *testing.M) {
	kqueuetest.Main()
	os.Exit(m.Run())
}

// TestIntegrationSuite is what every follower of processes must be able to do.
func TestIntegrationSuite(t *testing.T) {
	kqueuetest.Suite(t, kqueuetest.Features{}, starter(t, openJail(t)))
}
