package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// consoleKept is how much of the console's end is remembered, in bytes.
const consoleKept = 64 << 10

// console is the guest's serial console. It is read all the time.
type console struct {
	w       io.Writer
	changed chan struct{} // has a value when text came; closed at the end

	mu   sync.Mutex
	kept []byte
}

func newConsole(rw io.ReadWriter) *console {
	c := &console{w: rw, changed: make(chan struct{}, 1)}
	go c.read(rw)
	return c
}

func (c *console) read(r io.Reader) {
	defer close(c.changed)
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		c.mu.Lock()
		c.kept = append(c.kept, bytes.ReplaceAll(buf[:n], []byte("\r"), nil)...)
		c.kept = c.kept[max(0, len(c.kept)-consoleKept):]
		c.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.kept)
}

// send types a line, and forgets what was shown before.
func (c *console) send(line string) error {
	c.mu.Lock()
	c.kept = nil
	c.mu.Unlock()
	_, err := io.WriteString(c.w, line+"\r")
	return err
}

// explain adds the end of the console's text, where there is any.
func (c *console) explain(err error) error {
	text := strings.TrimSpace(c.text())
	if text == "" {
		return err
	}
	lines := strings.Split(text, "\n")
	return fmt.Errorf("%w; the guest's console:\n%s", err, strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// panicLine is what the kernel says first of a panic, see kern_shutdown.c,
// vpanic.
var panicLine = regexp.MustCompile(`(?m)^panic: .*\n`)

func (c *console) panicked() string { return strings.TrimSpace(panicLine.FindString(c.text())) }
