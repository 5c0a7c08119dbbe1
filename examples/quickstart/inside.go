package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// inside is the program in the container: main, and the grandchild that
// outlives it.
func inside(args []string) int {
	if len(args) > 0 && args[0] == "daemon" {
		time.Sleep(2 * time.Second)
		fmt.Println("grandchild: main is gone for two seconds, and the container still lives; now I leave as well")
		return 0
	}
	if err := look(); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		return 1
	}
	// A daemon leaves its parent and its session behind.
	cmd := exec.Command(insidePath, "daemon")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		return 1
	}
	fmt.Println("main: leaving a daemon behind and exiting with code 7")
	return 7
}

// look prints what the container sees.
func look() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	fmt.Println("hostname: ", name)
	fmt.Println("processes:", "I am", os.Getpid(), "of parent", os.Getppid())
	ifs, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range ifs {
		addrs, err := i.Addrs()
		if err != nil {
			return err
		}
		fmt.Println("interface:", i.Name, addrs)
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	fmt.Println("root:     ", strings.Join(names, " "))
	return nil
}
