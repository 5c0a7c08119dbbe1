package confine

import (
	"fmt"
	"io"
)

// Main is the child: args are the program's arguments without its name, as Child starts
// it. It returns the exit code: 0 where the answer says it all, 1, or 2 for wrong usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 || args[0] != Verb {
		fmt.Fprintf(stderr, "usage: ocitar %s ORDERS\n", Verb)
		return 2
	}
	if err := obey(args[1], stdin, stdout); err != nil {
		fmt.Fprintf(stderr, "ocitar: %v\n", err)
		return 1
	}
	return 0
}
