//go:build !freebsd

package main

import (
	"syscall"

	"github.com/joyboyid/xc/jail"
)

func inside(jail.ID) *syscall.SysProcAttr { return nil } // no jail, so nothing is run in one
