// Command vmtest runs Go test binaries in a FreeBSD virtual machine. It is a
// wrapper for go test -exec:
//
//	go build -o /tmp/vmtest ./internal/vmtest
//	GOOS=freebsd CGO_ENABLED=0 go test -p 1 -exec "/tmp/vmtest -image FILE" ./...
//
// The image is any disk with FreeBSD 14 or 15 for amd64 that boots by BIOS,
// has a getty on the serial console and lets root in without a password: the
// official VM-IMAGE and BASIC-CLOUDINIT ones do. It is never written to, and
// the guest needs no network and nothing installed.
//
// The words: the console is the first serial port, on which the guest boots and
// vmtest logs in once, to start the agent (agent.sh). The channel is the second
// serial port, on which the agent is told to run a job and answers with its
// output and exit status. A job is a tar archive on a disk both sides see: a
// script, the test binary, the package's testdata directory. The guest's third
// disk is scratch space for a ZFS pool, named to the tests by XC_TEST_DATASET.
//
// The VM stays up between calls, which take turns; a test that panics, hangs or
// stops the guest costs the VM, and the next call boots another.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// exitTrouble is the exit status when the VM or vmtest failed, not the test.
const exitTrouble = 125

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "vmtest: %v\n", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	o, err := parse(args, stderr)
	if err != nil {
		return 2, err
	}
	if o.stop {
		return status(stopAll(o.state))
	}
	dir, err := o.prepare()
	if err != nil {
		return exitTrouble, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return exitTrouble, err
	}
	defer unlock()
	v, err := open(ctx, dir, o, stderr)
	if err != nil {
		return exitTrouble, err
	}
	defer v.close()
	code := 0
	if o.binary != "" {
		code, err = v.test(ctx, o, stdout)
	}
	if o.fresh {
		err = errors.Join(err, v.kill(), os.RemoveAll(dir))
	}
	return code, err
}

// test runs the test binary of o in the guest, and fetches what it wrote.
func (v *vm) test(ctx context.Context, o options, stdout io.Writer) (int, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return exitTrouble, err
	}
	args, files := rewrite(o.args, cwd)
	env := environment(os.Environ(), o.env)
	if o.pool != "" {
		env = append([]string{"XC_TEST_DATASET=" + o.pool}, env...)
	}
	if limit := timeLimit(o.args); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end after %v: %w", limit, errHang))
		defer cancel()
	}
	code, err := v.run(ctx, job{
		script: script(filepath.Base(cwd), filepath.Base(o.binary), args, env, files),
		binary: o.binary,
		dir:    cwd,
	}, stdout)
	if err != nil || len(files) == 0 {
		return code, err
	}
	if err := v.fetch(ctx, files); err != nil {
		return exitTrouble, fmt.Errorf("fetch what the test wrote: %w", err)
	}
	return code, nil
}

func status(err error) (int, error) {
	if err != nil {
		return exitTrouble, err
	}
	return 0, nil
}

// errHang is the cause when a test ran longer than its own limit and ours.
var errHang = errors.New("the guest hangs")

// lock takes turns with other calls on the same VM.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
