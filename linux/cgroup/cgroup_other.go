//go:build !linux

package cgroup

import (
	"context"
	"errors"
	"time"
)

// Group is a directory of the cgroup2 hierarchy.
type Group struct{}

// Find returns errors.ErrUnsupported.
func Find() (string, error) { return "", errors.ErrUnsupported }

// Make returns errors.ErrUnsupported.
func Make(string) (*Group, error) { return nil, errors.ErrUnsupported }

// Open returns errors.ErrUnsupported.
func Open(string) (*Group, error) { return nil, errors.ErrUnsupported }

// FD returns -1.
func (g *Group) FD() int { return -1 }

// Members returns errors.ErrUnsupported.
func (g *Group) Members() ([]int, error) { return nil, errors.ErrUnsupported }

// Populated returns errors.ErrUnsupported.
func (g *Group) Populated() (bool, error) { return false, errors.ErrUnsupported }

// WaitEmpty returns errors.ErrUnsupported.
func (g *Group) WaitEmpty(context.Context) error { return errors.ErrUnsupported }

// Kill returns errors.ErrUnsupported.
func (g *Group) Kill() error { return errors.ErrUnsupported }

// Remove returns errors.ErrUnsupported.
func (g *Group) Remove(context.Context) error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (g *Group) Close() error { return errors.ErrUnsupported }

// Controller returns errors.ErrUnsupported.
func Controller(string) (Hierarchy, error) { return Hierarchy{}, errors.ErrUnsupported }

// Enable returns errors.ErrUnsupported.
func Enable(string, ...string) error { return errors.ErrUnsupported }

// Limit returns errors.ErrUnsupported.
func (l Limits) Limit(string, string, int) error { return errors.ErrUnsupported }

// OOMKills returns errors.ErrUnsupported.
func OOMKills(string, int) (int, error) { return 0, errors.ErrUnsupported }

// RemoveOne returns errors.ErrUnsupported.
func RemoveOne(context.Context, string) error { return errors.ErrUnsupported }

// DeviceFilter is a program in the kernel.
type DeviceFilter struct{}

// Load returns errors.ErrUnsupported.
func (l Devices) Load() (*DeviceFilter, error) { return nil, errors.ErrUnsupported }

// Attach returns errors.ErrUnsupported.
func (f *DeviceFilter) Attach(*Group) error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (f *DeviceFilter) Close() error { return errors.ErrUnsupported }

// Limit returns errors.ErrUnsupported.
func (l Devices) Limit(string) error { return errors.ErrUnsupported }

// Allow returns errors.ErrUnsupported.
func (d Device) Allow(string) error { return errors.ErrUnsupported }

// CPUTime returns errors.ErrUnsupported.
func CPUTime(string) (time.Duration, error) { return 0, errors.ErrUnsupported }

// MemoryUse returns errors.ErrUnsupported.
func MemoryUse(string, int) (int64, error) { return 0, errors.ErrUnsupported }
