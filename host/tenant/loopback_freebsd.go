package tenant

import (
	"fmt"
	"os"
	"strconv"

	"github.com/joyboyid/xc/freebsd/netif"
	"github.com/joyboyid/xc/jail"
)

// Loopback is the first argument of this program as the helper that brings up
// lo0 in the network stack of a jail, whose number is the second one. Interfaces
// are configured from inside, and nothing that could do it needs to be in the
// root.
const Loopback = "@loopback"

// loopback is the helper. It does not return when it was asked for.
func loopback() bool {
	if len(os.Args) != 3 || os.Args[1] != Loopback {
		return false
	}
	if err := upLoopback(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

func upLoopback(jid string) error {
	n, err := strconv.Atoi(jid)
	if err != nil {
		return err
	}
	if err := jail.ID(n).Attach(); err != nil {
		return err
	}
	return netif.Loopback()
}
