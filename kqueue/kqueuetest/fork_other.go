//go:build !freebsd && !linux

package kqueuetest

import "syscall"

func fork(int) (int, syscall.Errno) { return 0, syscall.ENOSYS }
