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

// BenchmarkNotice is from the end of a process to the notice.
func BenchmarkNotice(b *testing.B) { kqueuetest.Notice(b, starter(b, openJail(b))) }
