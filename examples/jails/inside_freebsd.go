package main

import (
	"syscall"

	"github.com/joyboyid/xc/jail"
)

func inside(id jail.ID) *syscall.SysProcAttr { return &syscall.SysProcAttr{Jail: int(id)} }
