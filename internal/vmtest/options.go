package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options is the command line.
type options struct {
	image   string
	kernel  string        // booted by QEMU instead of the image's loader
	append  string        // the kernel's environment, with kernel
	accel   string        // "kvm", "tcg", or "" for the first that works
	memory  string        // as QEMU's -m
	cpus    int           //
	pool    string        // ZFS pool to make on the scratch disk; "" for none
	env     []string      // names of variables the test also gets
	state   string        // where VMs keep their files
	bootMax time.Duration // limit of a boot
	qemu    string        // program
	fresh   bool
	stop    bool

	binary string
	args   []string
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	var env string
	fs := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.Usage = func() {
		fmt.Fprint(usage, "usage: vmtest -image FILE [option]... [TEST-BINARY [ARGUMENT]...]\n       vmtest -stop\nWithout a test binary the VM is booted and left running.\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&o.image, "image", "", "FreeBSD disk image: qcow2 or raw, also .xz `file`s of them")
	fs.BoolVar(&o.fresh, "fresh", false, "boot a VM for this call alone")
	fs.BoolVar(&o.stop, "stop", false, "stop all VMs that are kept running")
	fs.StringVar(&env, "env", "", "comma separated `names` of variables to pass in, beside XC_TEST_*")
	fs.StringVar(&o.pool, "pool", "tank", "make a ZFS pool of this `name` on a scratch disk and pass it as XC_TEST_DATASET; empty for none")
	fs.StringVar(&o.accel, "accel", "", "kvm or tcg (software emulation); without: kvm where it works")
	fs.StringVar(&o.memory, "memory", "2G", "`size` of the guest's memory")
	fs.IntVar(&o.cpus, "cpus", 2, "`number` of the guest's processors")
	fs.StringVar(&o.kernel, "kernel", "", "kernel `file` for QEMU to boot directly, without the image's loader (needs a PVH entry that works outside Xen)")
	fs.StringVar(&o.append, "append", "", "kernel environment for -kernel, `name=value` separated by spaces")
	fs.DurationVar(&o.bootMax, "boot-timeout", 15*time.Minute, "`limit` of a boot")
	fs.StringVar(&o.state, "state", "", "`directory` for running VMs (default: xc-vmtest in the user's cache directory)")
	fs.StringVar(&o.qemu, "qemu", "qemu-system-x86_64", "`program` to run")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.env = strings.FieldsFunc(env, func(r rune) bool { return r == ',' })
	if fs.NArg() > 0 {
		o.binary, o.args = fs.Arg(0), fs.Args()[1:]
	}
	if o.state == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("no place for the VM's files, use -state: %w", err)
		}
		o.state = filepath.Join(cache, "xc-vmtest")
	}
	switch {
	case o.stop:
	case o.image == "":
		return o, errors.New("-image is missing: see docs/testing.md")
	case o.accel != "" && o.accel != "kvm" && o.accel != "tcg":
		return o, fmt.Errorf("-accel %s: must be kvm or tcg", o.accel)
	case o.append != "" && o.kernel == "":
		return o, errors.New("-append needs -kernel")
	case strings.ContainsFunc(o.pool, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_", r) }):
		return o, fmt.Errorf("-pool %s: must be of a-z, 0-9 and _", o.pool)
	}
	return o, nil
}

// socketMax is the longest path of a unix socket, without the final NUL
// (sun_path of unix(4) has 104 bytes on FreeBSD, that of Linux 108).
const socketMax = 103

// prepare makes the VM's directory, whose name stands for all that shapes the
// VM, and unpacks the image into it where that is compressed.
func (o *options) prepare() (dir string, err error) {
	if o.image, err = filepath.Abs(o.image); err != nil {
		return "", err
	}
	if o.kernel != "" {
		if o.kernel, err = filepath.Abs(o.kernel); err != nil {
			return "", err
		}
	}
	if o.state, err = filepath.Abs(o.state); err != nil {
		return "", err
	}
	st, err := os.Stat(o.image)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(o.state, 0o700); err != nil {
		return "", err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %d %v %q %q %q %q %d %q %q", o.image, st.Size(), st.ModTime(), o.kernel, o.append, o.accel, o.memory, o.cpus, o.pool, agentScript))
	dir = filepath.Join(o.state, fmt.Sprintf("%x", key[:4]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if strings.HasSuffix(o.image, ".xz") {
		if o.image, err = unxz(o.image, filepath.Join(dir, "image")); err != nil {
			return "", err
		}
	}
	if o.fresh {
		if dir, err = os.MkdirTemp(o.state, "fresh-"); err != nil {
			return "", err
		}
	}
	if p := filepath.Join(dir, consoleSocket); len(p) > socketMax {
		return "", fmt.Errorf("%s: too long for a socket, choose a shorter -state", p)
	}
	return dir, nil
}

// unxz unpacks src to dst, once.
func unxz(src, dst string) (string, error) {
	if _, err := os.Stat(dst); err == nil {
		return dst, nil
	}
	f, err := os.CreateTemp(filepath.Dir(dst), "image-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var msg bytes.Buffer
	cmd := exec.Command("xz", "-dc", "--", src)
	cmd.Stdout, cmd.Stderr = f, &msg
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", src, err, bytes.TrimSpace(msg.Bytes()))
	}
	return dst, os.Rename(f.Name(), dst)
}

// imageFormat tells QEMU's name for the format of an image by its first bytes.
// QEMU's own guess is not asked: it would let a guest's raw disk claim to be
// another format.
func imageFormat(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", fmt.Errorf("%s: not a disk image: %w", name, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		return "qcow2", nil
	case head[510] == 0x55 && head[511] == 0xaa:
		return "raw", nil // an MBR, or the protective one of a GPT
	}
	for _, magic := range []string{"KDMV", "# Disk DescriptorFile", "conectix", "vhdxfile"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return "", fmt.Errorf("%s: a VMDK or VHD image: take the qcow2 or raw one", name)
		}
	}
	return "raw", nil // a file system without partitions, for -kernel
}

// environment picks XC_TEST_* and the named variables.
func environment(all, names []string) []string {
	var env []string
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "XC_TEST_") || slices.Contains(names, name) {
			env = append(env, kv)
		}
	}
	return env
}
