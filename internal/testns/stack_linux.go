package testns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Stack is a network stack: the zero value is that of the caller. Another one is a
// network namespace.
type Stack struct{ ns *os.File }

// NewStack makes one that lasts as long as the test, and that a veth pair joins to
// ours: here the end is called name, there eth0. Both are up, and addresses of v6
// can be used at once. It stands for the world outside.
func NewStack(t testing.TB, name string) *Stack {
	t.Helper()
	c := exec.Command("unshare", "-n", "sh", "-c", "echo; exec sleep 1000")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(c.Process.Pid)
	f, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	s := &Stack{f}
	NoDAD()
	s.In(t, NoDAD)
	IP(t, "link add "+name+" type veth peer name eth0 netns "+pid+"\nlink set "+name+" up")
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", name).Run() // gone with the namespace, perhaps
		f.Close()
	})
	s.IP(t, "link set lo up\nlink set eth0 up")
	return s
}

// In calls f on a thread of the stack: the sockets that it makes are of it.
func (s *Stack) In(t testing.TB, f func()) {
	t.Helper()
	if s.ns == nil {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Addr gives an interface an address, with the length of its network.
func (s *Stack) Addr(t testing.TB, name, prefix string) {
	t.Helper()
	s.IP(t, "addr add "+prefix+" dev "+name)
}

// IP runs ip(8) in the stack, once for each line.
func (s *Stack) IP(t testing.TB, lines string) {
	t.Helper()
	s.In(t, func() { IP(t, lines) })
}

// IP runs ip(8) once for each line.
func IP(t testing.TB, lines string) {
	t.Helper()
	for l := range strings.Lines(lines) {
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		if out, err := exec.Command("ip", f...).CombinedOutput(); err != nil {
			t.Errorf("ip %s: %v: %s", strings.Join(f, " "), err, out)
		}
	}
}

// NoDAD lets addresses of v6 be used at once on interfaces that are made from now
// on in the stack of this thread.
func NoDAD() {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0) // without it they take a second
}

// Forward lets this stack pass packets on, or skips the test where that is not
// allowed.
func Forward(t testing.TB) { t.Helper(); forward(t, "1") }

// NoForward lets it not do so, where it did.
func NoForward(t testing.TB) { t.Helper(); forward(t, "0") }

func forward(t testing.TB, value string) {
	t.Helper()
	for _, f := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
		old, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(f, []byte(value), 0)
		}
		if err != nil {
			t.Skipf("whether packets are forwarded cannot be said here: %v", err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(f, old, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// StackOf is the network stack of a process.
func StackOf(t testing.TB, pid int) *Stack {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &Stack{f}
}

// Serve answers each call with a name and the address that called.
func (s *Stack) Serve(t testing.TB, network, address, name string) {
	t.Helper()
	s.In(t, func() {
		l, err := serve(network, address, name)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
	})
}

// Call returns what the called said; "" when nobody did.
func (s *Stack) Call(t testing.TB, network, address string) (said string) {
	t.Helper()
	s.In(t, func() { said = call(network, address) })
	return said
}
