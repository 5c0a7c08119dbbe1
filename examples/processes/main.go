// Processes says what the processes are that it is given, or else itself and
// its parent. It needs the leaf proc only:
//
//	go run ./examples/processes [PID...]
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/joyboyid/xc/proc"
)

func main() {
	pids := os.Args[1:]
	if len(pids) == 0 {
		pids = []string{strconv.Itoa(os.Getppid()), strconv.Itoa(os.Getpid())}
	}
	for _, arg := range pids {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			log.Fatal(err)
		}
		p, err := proc.Read(pid)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d child of %d, uid %d, %c, %v of cpu time, %d KiB, started %v ago: %s %q\n",
			p.PID, p.Parent, p.UID, p.State, p.CPU, p.Memory>>10, time.Since(p.Started).Round(time.Second), p.Name, p.Args)
	}
}
