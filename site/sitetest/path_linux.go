package sitetest

import "syscall"

const openPath = syscall.O_RDONLY | 0x200000 // O_PATH
