package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// descendants lists the processes below pid, by the lists of children that each
// of its threads has (CONFIG_PROC_CHILDREN); proc_tid_children(5).
func descendants(pid int) ([]int, error) {
	var out []int
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		kids, err := children(todo[0])
		if err != nil {
			return nil, fmt.Errorf("children of process %d: %w", todo[0], err)
		}
		todo = append(todo, kids...)
		out = append(out, kids...)
	}
	return out, nil
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
