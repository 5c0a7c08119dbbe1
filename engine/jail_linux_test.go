package engine_test

import (
	"errors"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// There are no jails and no datasets on Linux: who asks for them is told so.
func TestIntegrationNoJails(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	for _, spec := range []api.ContainerSpec{{Params: []string{"securelevel=1"}}, {Datasets: []string{"tank/a"}}} {
		spec.Image = "root"
		if _, err := e.CreateContainer(t.Context(), spec); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}
