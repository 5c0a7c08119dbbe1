package ocitar

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
)

func TestMain(m *testing.M) {
	fuzzes := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzzworker") })
	if fuzzes && os.Getuid() == 0 {
		if err := sealWorld(); err != nil {
			fmt.Fprintln(os.Stderr, "seal the world around the fuzz worker:", err)
			os.Exit(1)
		}
	}
	if !sealed {
		testns.Enter()
	}
	os.Exit(m.Run())
}

// sealed says that writing anywhere but in the directory for temporary files fails
// with EROFS, which no layer may bring about.
var sealed bool
