package tenant

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/joyboyid/xc/site/runloop"
)

// BenchmarkTrue is a tenant's whole life around /bin/true.
func BenchmarkTrue(b *testing.B) {
	need(b)
	root := makeRoot(b)
	upper, work := b.TempDir(), b.TempDir()
	c, err := json.Marshal(Config{
		ID: "bench", Hostname: "box", Network: "none", Cgroup: makeGroup(b),
		Root: Root{Kind: Overlay, Lower: []string{root}, Upper: upper, Work: work},
	})
	must(b, err)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(b, err)
	defer null.Close()
	for b.Loop() {
		s, err := Open(c)
		must(b, err)
		tr, err := s.Start(&runloop.Process{Args: []string{"/bin/true"}, Env: []string{"PATH=/bin"}, Files: [3]*os.File{null, null, null}})
		must(b, err)
		must(b, tr.Empty(b.Context()))
		must(b, tr.Close())
		must(b, s.Close())
	}
}
