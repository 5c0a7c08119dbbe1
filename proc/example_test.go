package proc_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/joyboyid/xc/proc"
)

func ExampleRead() {
	p, err := proc.Read(os.Getpid())
	fmt.Println(errors.Is(err, errors.ErrUnsupported) || p.Parent == os.Getppid())
	// Output: true
}
