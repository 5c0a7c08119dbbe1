package engine

import (
	"context"

	"github.com/joyboyid/xc/engine/api"
)

// CheckSystem implements api.System.
func (e *Engine) CheckSystem(ctx context.Context) ([]api.Check, error) {
	if err := e.begin(); err != nil {
		return nil, err
	}
	defer e.end()
	list := []api.Check{}
	for _, c := range e.host.Check(ctx) {
		list = append(list, api.Check(c))
	}
	return append(list, e.checkVolumes(ctx)...), nil
}
