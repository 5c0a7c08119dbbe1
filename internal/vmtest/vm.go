package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed agent.sh
var agentScript string

// Files in a VM's directory.
const (
	consoleSocket = "console"
	channelSocket = "channel"
	qmpSocket     = "qmp"
	consoleLog    = "console.log"
	qemuLog       = "qemu.log"
	jobDisk       = "jobs"
	scratchDisk   = "scratch"
	idleFile      = "idle" // is there while the agent waits for a job
)

// vm is a guest with its agent.
type vm struct {
	dir     string
	con     *console
	channel *channel
	qmp     *qmp

	conns       []io.Closer // all of them
	channelConn io.Closer
}

// open joins the VM that runs in dir, or boots one.
func open(ctx context.Context, dir string, o options, notes io.Writer) (*vm, error) {
	v, err := attach(dir)
	if err == nil {
		if _, idle := os.Stat(filepath.Join(dir, idleFile)); idle == nil && v.qmp.running() == nil {
			return v, nil
		}
		// Its last job did not end: what state it is in, nobody knows.
		err := v.kill()
		v.close()
		if err != nil {
			return nil, err
		}
	}
	for _, accel := range accelerators(o.accel) {
		started := time.Now()
		fmt.Fprintf(notes, "vmtest: booting %s (%s)\n", o.image, accel)
		if v, err = boot(ctx, dir, o, accel); err == nil {
			fmt.Fprintf(notes, "vmtest: booted in %v\n", time.Since(started).Round(time.Second))
			return v, nil
		}
		fmt.Fprintf(notes, "vmtest: boot (%s): %v\n", accel, err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, fmt.Errorf("no VM, see %s and %s", filepath.Join(dir, consoleLog), filepath.Join(dir, qemuLog))
}

// attach connects to QEMU's sockets in dir.
func attach(dir string) (*vm, error) {
	v := &vm{dir: dir}
	q, err := dialQMP(filepath.Join(dir, qmpSocket))
	if err != nil {
		return nil, err
	}
	v.qmp, v.conns = q, append(v.conns, q.conn)
	channelConn, err := net.Dial("unix", filepath.Join(dir, channelSocket))
	if err != nil {
		v.close()
		return nil, err
	}
	v.channel, v.channelConn, v.conns = &channel{rw: channelConn}, channelConn, append(v.conns, channelConn)
	consoleConn, err := net.Dial("unix", filepath.Join(dir, consoleSocket))
	if err != nil {
		v.close()
		return nil, err
	}
	v.con, v.conns = newConsole(consoleConn), append(v.conns, consoleConn)
	return v, nil
}

// close leaves the VM running.
func (v *vm) close() {
	for _, c := range v.conns {
		c.Close()
	}
}

// hangUp ends what waits for the agent.
func (v *vm) hangUp() { v.channelConn.Close() }

// kill ends QEMU, and returns when it is gone.
func (v *vm) kill() error {
	err := v.qmp.do(nil, "quit", nil)
	if err == nil { // it closes its end when it exits, within qmpLimit
		_, err = io.Copy(io.Discard, v.qmp.conn)
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("stop the VM: %w", err)
}

// run runs a job and copies its output to w. When it fails, the VM is stopped.
func (v *vm) run(ctx context.Context, j job, w io.Writer) (exit int, err error) {
	disk, err := os.OpenFile(filepath.Join(v.dir, jobDisk), os.O_WRONLY, 0)
	if err != nil {
		return exitTrouble, err
	}
	blocks, err := j.write(disk)
	if err = errors.Join(err, disk.Close()); err != nil {
		return exitTrouble, fmt.Errorf("write the test's files: %w", err)
	}
	idle := filepath.Join(v.dir, idleFile)
	if err := os.Remove(idle); err != nil && !os.IsNotExist(err) {
		return exitTrouble, err
	}
	exit, err = v.order(ctx, blocks, w)
	if err != nil {
		if killed := v.kill(); killed != nil {
			return exitTrouble, errors.Join(err, killed)
		}
		return exitTrouble, fmt.Errorf("%w\nvmtest: the VM was stopped, the next call boots another", err)
	}
	return exit, os.WriteFile(idle, nil, 0o600)
}

// startLimit is for the agent to answer, on a busy machine under emulation.
const startLimit = 2 * time.Minute

// order has the agent run the job, and explains its failure.
func (v *vm) order(ctx context.Context, blocks int64, w io.Writer) (exit int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(startLimit, func() {
		cancel(fmt.Errorf("the agent does not answer in %v: %w", startLimit, errHang))
	})
	defer slow.Stop()
	defer context.AfterFunc(ctx, v.hangUp)()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		v.watch(ctx, cancel)
	}()
	exit, err = v.channel.run(rand.Text(), blocks, w, func() { slow.Stop() })
	if err == nil {
		return exit, nil
	}
	if ctx.Err() == nil && errors.Is(err, io.EOF) {
		<-watched // the console ends too, maybe with the reason
		err = errors.New("the guest went away")
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return 0, v.con.explain(err)
}

// watch waits for a panic, until the console or ctx ends.
func (v *vm) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	var grace <-chan time.Time // for the kernel to say more: a backtrace
	var cause error
	changed := v.con.changed
	for {
		if p := v.con.panicked(); p != "" && cause == nil {
			cause = fmt.Errorf("the guest's kernel panicked: %s", p)
			grace = time.After(5 * time.Second)
		}
		select {
		case _, more := <-changed:
			if !more {
				if cause != nil {
					cancel(cause)
				}
				return
			}
		case <-grace:
			cancel(cause)
			return
		case <-ctx.Done():
			return
		}
	}
}

// fetch brings the files a test wrote to where its caller wants them.
func (v *vm) fetch(ctx context.Context, files []outFile) error {
	var archive bytes.Buffer
	exit, err := v.run(ctx, job{script: "exec tar -cf - -C " + guestOut + " . 2>/dev/null\n"}, &archive)
	if err != nil {
		return err
	}
	if exit != 0 {
		return fmt.Errorf("tar in the guest: exit status %d", exit)
	}
	return unpack(&archive, files)
}

// stopAll stops the VMs below state and removes their files.
func stopAll(state string) error {
	dirs, err := filepath.Glob(filepath.Join(state, "*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if q, err := dialQMP(filepath.Join(dir, qmpSocket)); err == nil {
			v := &vm{dir: dir, qmp: q, conns: []io.Closer{q.conn}}
			err := v.kill()
			v.close()
			if err != nil {
				return err
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
