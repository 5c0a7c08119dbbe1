package cli

import "golang.org/x/sys/unix"

// openPath opens a file without opening what it stands for (open(2)).
const openPath = unix.O_PATH
