package host

import (
	"errors"
	"fmt"
	"net/netip"
)

func errNetworks(n Network) error {
	return fmt.Errorf("network %s: networks of containers: %w on FreeBSD", n.Name, errors.ErrUnsupported)
}

// CheckNetwork tells whether this host has what a network is to be made of.
func (h *Host) CheckNetwork(n Network) error { return errNetworks(n) }

// MakeNetwork makes what is ours of a network, unless it is there.
func (h *Host) MakeNetwork(n Network) error { return errNetworks(n) }

// RemoveNetwork removes what is ours of a network, if it is there.
func (h *Host) RemoveNetwork(n Network) error { return errNetworks(n) }

// SweepNetworks removes the bridges of ours but those in keep.
func (h *Host) SweepNetworks(map[string]bool) error { return nil }

// Addresses are those this host has, by interface.
func (h *Host) Addresses() (map[string][]netip.Prefix, error) { return nil, nil }
