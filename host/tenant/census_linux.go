package tenant

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// descendants lists the living processes below pid, by the lists of children that
// each of its threads has (CONFIG_PROC_CHILDREN); proc_tid_children(5). Zombies,
// which these lists contain, have no children.
func descendants(pid int) ([]int, error) {
	var out []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		kids, err := children(todo[0])
		if err != nil {
			return nil, fmt.Errorf("children of process %d: %w", todo[0], err)
		}
		for _, kid := range kids {
			alive, err := living(kid)
			if err != nil {
				return nil, fmt.Errorf("state of process %d: %w", kid, err)
			}
			if alive {
				todo = append(todo, kid)
				out = append(out, kid)
			}
		}
	}
	return out, nil
}

// living tells a process from a zombie: proc_pid_stat(5). A process whose first
// thread has ended and whose others go on looks like a zombie with threads.
func living(pid int) (bool, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false, unlessGone(err)
	}
	const threads = 20 - 3 // num_threads is the 20th field, the state the 3rd
	_, after, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	f := strings.Fields(after)
	if len(f) <= threads {
		return false, fmt.Errorf("%q: %w", b, syscall.EINVAL)
	}
	if f[0] != "Z" && f[0] != "X" {
		return true, nil
	}
	n, err := strconv.Atoi(f[threads])
	return n > 1, err
}

func children(pid int) ([]int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil, unlessGone(err)
	}
	var out []int
	for _, t := range threads {
		b, err := os.ReadFile(filepath.Join(dir, t.Name(), "children"))
		if err := unlessGone(err); err != nil {
			return nil, err
		}
		for f := range strings.FieldsSeq(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
	}
	return out, nil
}

// unlessGone drops the errors of a process that ended under the reader.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
