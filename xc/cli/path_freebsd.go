package cli

// openPath opens a file without opening what it stands for: O_PATH of
// sys/fcntl.h, since FreeBSD 13.1; x/sys/unix does not have it.
const openPath = 0x00400000
