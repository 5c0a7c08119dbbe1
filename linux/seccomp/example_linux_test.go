package seccomp_test

import (
	"fmt"
	"log"

	"github.com/joyboyid/xc/linux/seccomp"
	"golang.org/x/sys/unix"
)

// The default policy, with one more system call taken away.
func Example() {
	p, err := seccomp.Default()
	if err != nil {
		log.Fatal(err)
	}
	p.Deny[unix.SYS_MKDIRAT] = unix.EROFS
	filter, err := p.Compile()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("fits into the kernel:", len(filter) <= 4096)
	// Output: fits into the kernel: true
}
