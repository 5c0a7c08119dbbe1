// Jails makes a jail, shows the jails of the host, runs a command in the new one
// and removes it:
//
//	jails / /bin/sh -c 'hostname; ps ax'
//
// The first argument is the root of the jail. FreeBSD only, as root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/joyboyid/xc/jail"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "jails:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) < 2 {
		return errors.New("usage: jails root command [argument ...]")
	}
	id, err := jail.Create(
		jail.String("name", fmt.Sprintf("example%d", os.Getpid())),
		jail.String("path", args[0]),
		jail.String("host.hostname", "example"),
		jail.Int("vnet", jail.New),
		jail.Flag("persist"),
	)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, id.Remove(ctx))
	}()
	for info, err := range jail.All() {
		if err != nil {
			return err
		}
		fmt.Printf("jail %d %s on %s, network stack of its own: %v\n", info.ID, info.Name, info.Path, info.VNET)
	}

	// The child attaches itself between fork and exec, so that its program is
	// looked for inside the jail.
	cmd := exec.Cmd{
		Path: args[1], Args: args[1:], Dir: "/", Env: []string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin"},
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: inside(id),
	}
	return cmd.Run()
}
