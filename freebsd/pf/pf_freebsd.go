package pf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const device = "/dev/pf"

func loaded() bool {
	_, err := os.Stat(device)
	return err == nil
}

// absent is what there is to say without pf.
func absent(op string) error {
	return &Error{Op: op, Errno: unix.ENOENT, Msg: "pf is not loaded: kldload pf"}
}

// pfctl runs pfctl(8) with text as its input, and returns what it prints.
func pfctl(ctx context.Context, text string, args ...string) (string, error) {
	op := "pfctl " + strings.Join(args, " ")
	if !loaded() {
		return "", absent(op)
	}
	cmd := exec.CommandContext(ctx, "/sbin/pfctl", args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return "", &Error{Op: op, Msg: strings.Join(strings.Fields(stderr.String()), " ")}
	}
	if err != nil {
		return "", &Error{Op: op, Msg: err.Error()}
	}
	return stdout.String(), nil
}

// The ioctls, sys/net/pfvar.h: _IOWR('D', n, struct pfioc_table).
const (
	diocRAddTables = 0xc450443d
	diocRDelTables = 0xc450443e
	diocRGetTStats = 0xc4504440
	diocRAddAddrs  = 0xc4504443
	diocRDelAddrs  = 0xc4504444
	diocRGetAddrs  = 0xc4504446
)

// control does an ioctl of a table. buf is what the request points to.
func control(op string, req uintptr, arg, buf []byte) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return absent(op)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(buf) > 0 {
		pin.Pin(&buf[0])
		binary.NativeEndian.PutUint64(arg[ioBuffer:], uint64(uintptr(unsafe.Pointer(&buf[0]))))
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	if err := conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, req, uintptr(unsafe.Pointer(&arg[0])))
	}); err != nil {
		return err
	}
	switch errno {
	case 0:
		return nil
	case unix.ESRCH:
		return &Error{Op: op, Errno: unix.ENOENT, Msg: "no such table"}
	}
	return &Error{Op: op, Errno: errno}
}

// foreignKernel tells that the kernel has other structures than we: the number of
// the ioctl is unknown, or the size of an element is refused.
func foreignKernel(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOTTY) }

func changeTable(op, name string, addrs []netip.Addr) error {
	err := changeNatively(op, name, encodeAddrs(addrs))
	if foreignKernel(err) {
		args := []string{"-t", name, "-T", op}
		for _, a := range addrs {
			args = append(args, a.String())
		}
		_, err = pfctl(context.Background(), "", args...)
	}
	if op == "delete" && isAbsent(err) {
		return nil
	}
	return err
}

func changeNatively(op, name string, addrs []byte) error {
	about := op + " in table " + name
	change := func() error {
		req := uintptr(diocRAddAddrs)
		if op == "delete" {
			req = diocRDelAddrs
		}
		return control(about, req, tableRequest(name, addrSize, len(addrs)/addrSize), addrs)
	}
	err := change()
	if op == "add" && errors.Is(err, unix.ENOENT) && loaded() {
		arg := tableRequest("", tableSize, 1)
		if err := control("make table "+name, diocRAddTables, arg, tableOf(name, persist)); err != nil {
			return err
		}
		err = change()
	}
	return err
}

func listTable(name string) ([]netip.Prefix, error) {
	for n := 64; ; {
		buf, arg := make([]byte, n*addrSize), tableRequest(name, addrSize, n)
		if err := control("list table "+name, diocRGetAddrs, arg, buf); err != nil {
			return nil, err
		}
		have := int(binary.NativeEndian.Uint32(arg[ioCount:]))
		if have <= n {
			return decodeAddrs(buf[:have*addrSize])
		}
		n = have + 64 // more than there was room for: nothing was copied
	}
}

func dropTable(name string) error {
	about := "drop table " + name
	stats, found, err := tableStats(about, name)
	if err != nil || !found {
		if isAbsent(err) || foreignKernel(err) {
			return nil // kept, which harms nobody
		}
		return err
	}
	if binary.NativeEndian.Uint32(stats[statsCount:]) != 0 || binary.NativeEndian.Uint32(stats[statsRules:]) != 0 {
		return nil
	}
	err = control(about, diocRDelTables, tableRequest("", tableSize, 1), tableOf(name, 0))
	if isAbsent(err) {
		return nil
	}
	return err
}

// tableStats returns the struct pfr_tstats of a table of the main rules.
func tableStats(about, name string) (stats []byte, found bool, err error) {
	for n := 64; ; {
		buf, arg := make([]byte, n*statsSize), tableRequest("", statsSize, n)
		if err := control(about, diocRGetTStats, arg, buf); err != nil {
			return nil, false, err
		}
		have := int(binary.NativeEndian.Uint32(arg[ioCount:]))
		if have > n {
			n = have + 64
			continue
		}
		for i := range have {
			s := buf[i*statsSize:][:statsSize]
			if n, _, _ := bytes.Cut(s[tableName:tableFlags], []byte{0}); string(n) == name {
				return s, true, nil
			}
		}
		return nil, false, nil
	}
}

// isAbsent reports whether an error says that pf is not there at all.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported)
}

const (
	statsSize  = 1200 // struct pfr_tstats: a struct pfr_table, then
	statsCount = 1184 // of addresses
	statsRules = 1188 // that use the table
)
