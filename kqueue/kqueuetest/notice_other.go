//go:build !freebsd && !linux

package kqueuetest

import "testing"

type waiter struct{}

func newWaiter(b testing.TB) *waiter {
	b.Skip("neither a kqueue nor a pidfd here")
	return nil
}

func (*waiter) arm(testing.TB, int)  {}
func (*waiter) wait(testing.TB, int) {}
