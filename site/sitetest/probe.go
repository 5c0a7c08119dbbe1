package sitetest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// probePath is the program in the roots: this executable, or for the fake a
// word.
const probePath = "/bin/probe"

// Main lets the test's executable be the program in the containers. In a
// process that was started as that it does not return.
func Main() {
	if filepath.Base(os.Args[0]) != filepath.Base(probePath) {
		return
	}
	p := &probe{args: os.Args[1:], env: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, seat: system{}}
	code, sig := p.run()
	if sig != 0 {
		die(sig)
	}
	os.Exit(code)
}

// seat is where a probe sits: in a container of this system, or in the fake.
type seat interface {
	readFile(name string) ([]byte, error)
	writeFile(name string, b []byte) error
	workDir() (string, error)
	hostname() (string, error)
	// leave starts a probe that goes on when this one has ended.
	leave(args []string) error
	// catch has SIGTERM sent to a channel.
	catch() <-chan os.Signal
	// pause returns false in a probe that was killed, if it can still tell.
	pause(time.Duration) bool
}

// probe is a process that tells what it sees.
type probe struct {
	args, env      []string
	stdin          io.Reader
	stdout, stderr io.Writer
	seat
}

// verb is a thing to do. It returns an exit code, or the signal to end by.
type verb func(p *probe, args []string) (code int, sig syscall.Signal)

func (p *probe) run() (int, syscall.Signal) {
	if len(p.args) == 0 {
		return p.fail(fmt.Errorf("no verb"))
	}
	v, ok := verbs()[p.args[0]]
	if !ok {
		v, ok = systemVerbs()[p.args[0]]
	}
	if !ok {
		return p.fail(fmt.Errorf("unknown verb %q", p.args[0]))
	}
	return v(p, p.args[1:])
}

func (p *probe) fail(err error) (int, syscall.Signal) {
	fmt.Fprintln(p.stderr, err)
	return 99, 0
}

// done is the end of a verb that has printed its findings, or failed.
func (p *probe) done(err error) (int, syscall.Signal) {
	if err != nil {
		return p.fail(err)
	}
	return 0, 0
}

// verbs are those that also the fake has.
func verbs() map[string]verb {
	return map[string]verb{
		"exit": func(_ *probe, a []string) (int, syscall.Signal) { return number(a[0]), 0 },
		"die":  func(_ *probe, a []string) (int, syscall.Signal) { return 0, syscall.Signal(number(a[0])) },
		"args": func(p *probe, a []string) (int, syscall.Signal) { return p.print("%q", a) },
		"env": func(p *probe, _ []string) (int, syscall.Signal) {
			return p.print("%q", slices.Sorted(slices.Values(p.env)))
		},
		"complain": func(p *probe, a []string) (int, syscall.Signal) {
			_, err := io.WriteString(p.stderr, a[0])
			return p.done(err)
		},
		"copy": func(p *probe, _ []string) (int, syscall.Signal) {
			_, err := io.Copy(p.stdout, p.stdin)
			return p.done(err)
		},
		"dir":      func(p *probe, _ []string) (int, syscall.Signal) { return p.text(p.workDir()) },
		"hostname": func(p *probe, _ []string) (int, syscall.Signal) { return p.text(p.hostname()) },
		"read":     readVerb,
		"write":    func(p *probe, a []string) (int, syscall.Signal) { return p.done(p.writeFile(a[0], []byte(a[1]))) },
		"append":   appendVerb,
		"leave":    func(p *probe, a []string) (int, syscall.Signal) { return p.done(p.leave(a)) },
		"hold":     holdVerb,
		"heed":     heedVerb,
		"deaf":     func(p *probe, a []string) (int, syscall.Signal) { p.catch(); return holdVerb(p, a) },
	}
}

// number reads an argument; a wrong one is a mistake in a promise.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func (p *probe) print(format string, args ...any) (int, syscall.Signal) {
	_, err := fmt.Fprintf(p.stdout, format, args...)
	return p.done(err)
}

func (p *probe) text(s string, err error) (int, syscall.Signal) {
	if err != nil {
		return p.fail(err)
	}
	return p.print("%s", s)
}

// readVerb prints a file.
func readVerb(p *probe, a []string) (int, syscall.Signal) {
	b, err := p.readFile(a[0])
	return p.text(string(b), err)
}

// holdVerb says that it is there, and stays until a file says "go".
func holdVerb(p *probe, a []string) (int, syscall.Signal) {
	if _, err := io.WriteString(p.stdout, "ready "); err != nil {
		return p.fail(err)
	}
	for {
		if b, err := p.readFile(a[0]); err == nil && strings.TrimSpace(string(b)) == "go" {
			return 0, 0
		}
		if !p.pause(5 * time.Millisecond) {
			return 0, syscall.SIGKILL
		}
	}
}

// heedVerb ends by SIGTERM, with a code of its own.
func heedVerb(p *probe, a []string) (int, syscall.Signal) {
	c := p.catch()
	if _, err := io.WriteString(p.stdout, "ready "); err != nil {
		return p.fail(err)
	}
	for {
		select {
		case <-c:
			return number(a[0]), 0
		default:
		}
		if !p.pause(5 * time.Millisecond) {
			return 0, syscall.SIGKILL
		}
	}
}
