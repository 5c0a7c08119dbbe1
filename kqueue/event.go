package kqueue

import (
	"fmt"
	"syscall"
)

// Kind says what happened to a process.
type Kind uint8

// The kinds of events.
const (
	// Fork: PID was born to Parent. The first event of a tree is the Fork of main.
	Fork Kind = iota + 1
	// Exec: PID runs another program now. Programs that follow each other closely
	// may be told as one. One may be told twice.
	Exec
	// Exit: PID has ended with Status. It may not have been waited for yet.
	Exit
	// Lost: notes about PID have been lost. Either it lives and its Fork was not
	// seen, and it is followed from here on; or it is gone and its Exit was not
	// seen. [Tree.PIDs] tells which. With PID 0 the reader of the events was so
	// slow that some had to be dropped; membership is complete all the same.
	Lost
)

func (k Kind) String() string {
	switch k {
	case Fork:
		return "fork"
	case Exec:
		return "exec"
	case Exit:
		return "exit"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Event is something that happened to a process of a tree.
type Event struct {
	Kind   Kind
	PID    int
	Parent int                // of a Fork; 0 otherwise
	Status syscall.WaitStatus // of an Exit, as wait(2) reports it; 0 otherwise
}

func (e Event) String() string {
	switch {
	case e.Kind == Fork:
		return fmt.Sprintf("fork %d of %d", e.PID, e.Parent)
	case e.Kind == Exit && e.Status.Signaled():
		return fmt.Sprintf("exit %d signal %d", e.PID, e.Status.Signal())
	case e.Kind == Exit:
		return fmt.Sprintf("exit %d status %d", e.PID, e.Status.ExitStatus())
	}
	return fmt.Sprintf("%v %d", e.Kind, e.PID)
}
