package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// channel is the host's end of the wire to the agent.
type channel struct {
	rw   io.ReadWriter
	rest []byte // read, not yet used
}

// run orders a job of so many blocks and copies its output to w. The id must
// not have been used before, and be such that no output contains it.
func (c *channel) run(id string, blocks int64, w io.Writer, started func()) (exit int, err error) {
	if _, err := fmt.Fprintf(c.rw, "run %s %d\n", id, blocks); err != nil {
		return 0, err
	}
	mark := []byte("\036" + id + " ")
	// What comes before is of processes that an earlier job left behind.
	line, err := c.copyTo(io.Discard, mark)
	if err != nil {
		return 0, err
	}
	if line != "start" {
		return 0, fmt.Errorf("the agent says %q instead of start", line)
	}
	started()
	if line, err = c.copyTo(w, mark); err != nil {
		return 0, err
	}
	n, found := bytes.CutPrefix([]byte(line), []byte("exit "))
	exit, err = strconv.Atoi(string(n))
	if !found || err != nil || exit < 0 || exit > 255 {
		return 0, fmt.Errorf("the agent says %q instead of an exit status", line)
	}
	return exit, nil
}

// copyTo copies to w what comes before mark, as it comes, and returns the line
// after mark.
func (c *channel) copyTo(w io.Writer, mark []byte) (line string, err error) {
	for {
		i := bytes.Index(c.rest, mark)
		if i >= 0 {
			if n := bytes.IndexByte(c.rest[i:], '\n'); n >= 0 {
				line = string(c.rest[i+len(mark) : i+n])
				_, err = w.Write(c.rest[:i])
				c.rest = c.rest[i+n+1:]
				return line, err
			}
		} else {
			i = len(c.rest) - overlap(c.rest, mark)
		}
		if i > 0 {
			if _, err := w.Write(c.rest[:i]); err != nil {
				return "", err
			}
			c.rest = c.rest[i:]
		}
		buf := make([]byte, 32<<10)
		n, err := c.rw.Read(buf)
		c.rest = append(c.rest, buf[:n]...)
		if err != nil && n == 0 {
			return "", err
		}
	}
}

// overlap is the length of the longest end of b that mark begins with.
func overlap(b, mark []byte) int {
	for n := min(len(b), len(mark)-1); n > 0; n-- {
		if bytes.HasSuffix(b, mark[:n]) {
			return n
		}
	}
	return 0
}
