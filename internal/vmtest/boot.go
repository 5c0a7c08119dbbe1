package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Disks in the order of qemuArgs, as the guest's virtio_blk(4) names them.
const (
	guestJobs    = "/dev/vtbd1"
	guestScratch = "/dev/vtbd2"
	guestChannel = "/dev/cuau1"
)

// scratchSize is in bytes, all of it a hole at first.
const scratchSize = 16 << 30

// accelerators to try. KVM may be there and yet not run a guest (nested).
func accelerators(choice string) []string {
	if choice != "" {
		return []string{choice}
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		return []string{"kvm", "tcg"}
	}
	return []string{"tcg"}
}

// qemuArgs describes the machine; file names are relative to its directory.
func qemuArgs(o options, accel, format string) []string {
	cpu := "max"
	if accel == "tcg" {
		// A plain processor: with all that QEMU can emulate ("max") a 14.0
		// kernel panicked in some of its boots, with this one in none.
		accel, cpu = "tcg,thread=multi,tb-size=512", "Nehalem,+rdrand"
	}
	drive := func(id, options string) []string {
		return []string{"-drive", "if=none,id=" + id + "," + options, "-device", "virtio-blk-pci,drive=" + id}
	}
	port := func(socket, options string) []string {
		return []string{"-chardev", "socket,id=" + socket + ",path=" + socket + ",server=on,wait=off" + options, "-serial", "chardev:" + socket}
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot",
		"-machine", "pc", "-accel", accel, "-cpu", cpu,
		"-m", o.memory, "-smp", strconv.Itoa(o.cpus),
		"-display", "none", "-vga", "std", "-device", "virtio-rng-pci",
		"-qmp", "unix:" + qmpSocket + ",server=on,wait=off",
	}
	args = append(args, port(consoleSocket, ",logfile="+consoleLog)...)
	args = append(args, port(channelSocket, "")...)
	// snapshot=on: writes go to an unlinked file in $TMPDIR.
	args = append(args, drive("root", "snapshot=on,cache=unsafe,format="+format+",file="+strings.ReplaceAll(o.image, ",", ",,"))...)
	args = append(args, drive("jobs", "readonly=on,format=raw,file="+jobDisk)...)
	args = append(args, drive("scratch", "cache=unsafe,discard=unmap,format=raw,file="+scratchDisk)...)
	if o.kernel != "" {
		args = append(args, "-kernel", o.kernel, "-append", o.append)
	}
	return args
}

// boot starts QEMU in dir, logs in and starts the agent.
func boot(ctx context.Context, dir string, o options, accel string) (v *vm, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.bootMax, fmt.Errorf("not booted after %v", o.bootMax))
	defer cancel()
	exited, err := start(dir, o, accel)
	if err != nil {
		return nil, err
	}
	for v == nil {
		select {
		case err := <-exited:
			return nil, qemuFailed(dir, err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
		v, _ = attach(dir) // QEMU makes its sockets soon, or ends
	}
	if err = v.login(ctx, exited); err == nil {
		err = v.prepare(ctx, o)
	}
	if err != nil {
		err = errors.Join(v.con.explain(err), v.kill())
		v.close()
		return nil, err
	}
	return v, nil
}

// start starts QEMU; its exit is sent on exited.
func start(dir string, o options, accel string) (exited <-chan error, err error) {
	format, err := imageFormat(o.image)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{idleFile, consoleSocket, channelSocket, qmpSocket, consoleLog, jobDisk, scratchDisk} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	if err := sparse(filepath.Join(dir, jobDisk), diskSize); err != nil {
		return nil, err
	}
	if err := sparse(filepath.Join(dir, scratchDisk), scratchSize); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, qemuLog))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(o.qemu, qemuArgs(o, accel, format)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	// It outlives us, and an interrupt at the terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ch := make(chan error, 1)
	go func() { ch <- cmd.Wait() }()
	return ch, nil
}

func sparse(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func qemuFailed(dir string, err error) error {
	if err == nil { // -no-reboot
		return errors.New("the guest was reset while it booted")
	}
	log, _ := os.ReadFile(filepath.Join(dir, qemuLog)) // only for the message
	return fmt.Errorf("qemu ended: %w: %s", err, strings.TrimSpace(string(log)))
}

// login brings the guest to run the agent.
func (v *vm) login(ctx context.Context, exited <-chan error) error {
	j := job{script: agentScript}
	disk, err := os.OpenFile(filepath.Join(v.dir, jobDisk), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	blocks, err := j.write(disk)
	if err = errors.Join(err, disk.Close()); err != nil {
		return err
	}
	// No word of it depends on the shell: root's may be csh(1).
	l := newLogin(v.con, v.qmp, fmt.Sprintf("mkdir -p %[1]s; dd if=%[2]s bs=%[3]d count=%[4]d | tar -xpf - -C %[1]s run; mv %[1]s/run %[1]s/agent; exec sh %[1]s/agent %[2]s %[5]s %[1]s",
		guestDir, guestJobs, block, blocks, guestChannel))
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		done, err := l.advance()
		if err != nil || done {
			return err
		}
		select {
		case _, more := <-v.con.changed:
			if !more {
				return qemuFailed(v.dir, <-exited)
			}
		case err := <-exited:
			return qemuFailed(v.dir, err)
		case <-tick.C:
			if err := v.qmp.running(); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// modules of the kernel that tests look for. Not all load what they need, as the
// machine may be somebody's: here it is ours.
var modules = []string{"linux64", "linprocfs", "linsysfs", "pf"}

// setupScript loads the modules, those that the image has, and makes the pool, if
// there is to be one.
func setupScript(pool string) string {
	script := "for m in " + strings.Join(modules, " ") + "; do kldload -nq $m 2>/dev/null; done\n"
	if pool == "" {
		return script + "exit 0\n"
	}
	return script + fmt.Sprintf("kldload -n zfs && exec zpool create -f -m /%s %[1]s %s\n", pool, guestScratch)
}

// prepare waits for the agent, loads modules and makes the pool.
func (v *vm) prepare(ctx context.Context, o options) error {
	stop := context.AfterFunc(ctx, v.hangUp)
	_, err := v.channel.copyTo(io.Discard, []byte("\036agent "))
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("the agent does not start: %w", err)
	}
	var out strings.Builder
	exit, err := v.run(ctx, job{script: setupScript(o.pool)}, &out)
	if err != nil {
		return err
	}
	if exit != 0 {
		return fmt.Errorf("make the pool %s (-pool \"\" goes without): exit status %d: %s", o.pool, exit, strings.TrimSpace(out.String()))
	}
	return nil
}
