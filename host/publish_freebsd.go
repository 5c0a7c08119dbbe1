package host

import (
	"context"
	"errors"
	"fmt"
)

var errPF = fmt.Errorf("redirections by pf: %w", errors.ErrUnsupported)

func (h *Host) redirect(_ string, publish []Publish) error {
	if len(publish) == 0 {
		return nil
	}
	return errPF
}

// CanPublish tells why this host cannot redirect what comes to it from outside,
// for one family. An [ErrNotForwarding] leaves it to the proxy.
func (h *Host) CanPublish(context.Context, bool) error { return errPF }

// Redirected tells how many connections came to a site by its redirections, in
// their order.
func (h *Host) Redirected(string) ([]uint64, error) { return nil, nil }

// reflect has nothing to do: what a container sends itself by a published port
// goes through the proxy.
func (h *Host) reflect(string) error { return nil }
