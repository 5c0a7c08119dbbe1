//go:build amd64 || arm64

package seccomp

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"github.com/joyboyid/xc/internal/testns"
	"golang.org/x/sys/unix"
)

// confinedEnv makes the test binary a process that confines itself and then
// tries things.
const confinedEnv = "XC_SECCOMP_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(confinedEnv) != "" {
		confined()
		return
	}
	testns.Enter()
	os.Exit(m.Run())
}

func TestDefault(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	f := compile(t, p)
	t.Logf("%d instructions", len(f))
	for _, tt := range []struct {
		nr   uint32
		args []uint64
		want uint32
	}{
		{unix.SYS_READ, nil, allow}, {unix.SYS_EXECVE, nil, allow}, {unix.SYS_OPENAT2, nil, allow}, {unix.SYS_PTRACE, nil, allow},
		{unix.SYS_CHROOT, nil, allow}, {unix.SYS_SECCOMP, nil, allow}, {unix.SYS_PIDFD_OPEN, nil, allow}, {unix.SYS_RSEQ, nil, allow},
		{unix.SYS_MOUNT, nil, fail | 1}, {unix.SYS_BPF, nil, fail | 1}, {unix.SYS_UNSHARE, nil, fail | 1}, {unix.SYS_KEYCTL, nil, fail | 1},
		{unix.SYS_CLONE3, nil, fail | 38}, {p.Last + 1, nil, fail | 38},
		{unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow}, {unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, fail | 1},
		{unix.SYS_PERSONALITY, []uint64{0xffffffff}, allow}, {unix.SYS_PERSONALITY, []uint64{0x40000}, fail | 1},
		{unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, allow}, {unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, fail | 1},
	} {
		if got := judge(t, f, p.Arch, tt.nr, tt.args...); got != tt.want {
			t.Errorf("call %d %#x: %#x, want %#x", tt.nr, tt.args, got, tt.want)
		}
	}
}

// TestConfined: the kernel takes the filter and does as it says; a Go program,
// its threads included, runs under it.
func TestConfined(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{confinedEnv + "=1"}
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "confined\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func confined() {
	runtime.LockOSThread()
	check := func(what string, ok bool) {
		if !ok {
			println(what)
			os.Exit(1)
		}
	}
	p, err := Default()
	check("default", err == nil)
	f, err := p.Compile()
	check("compile", err == nil)
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: (*unix.SockFilter)(unsafe.Pointer(&f[0]))}
	check("no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == nil)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	check("seccomp", e == 0)
	check("unshare", unix.Unshare(unix.CLONE_NEWUSER) == unix.EPERM)
	check("mount", unix.Mount("none", "/", "tmpfs", 0, "") == unix.EPERM)
	_, _, e = unix.Syscall(unix.SYS_CLONE3, 0, 0, 0)
	check("clone3", e == unix.ENOSYS)
	_, err = unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	check("vsock", err == unix.EPERM)
	out, err := exec.Command("/bin/echo", "confined").Output()
	check("exec", err == nil)
	os.Stdout.Write(out)
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		p, err := Default()
		if err != nil {
			b.Fatal(err)
		}
		compile(b, p)
	}
}
