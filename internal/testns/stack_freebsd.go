package testns

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Stack is a network stack: the zero value is that of the caller. Another one is
// that of a jail, or the part of the host's that a jail without one of its own may
// use.
type Stack struct {
	jid int
	in  *json.Encoder // to the helper
	out *json.Decoder
}

// A process cannot make sockets in a jail and stay outside, so what is to be done
// in a stack is done by a helper: this test binary again, which enters the jail
// before anything else (jail_attach(2) is for the whole process) and then reads what
// to do. It does not need to find anything in there, and ends with the jail at the
// latest.

// helperEnv names the jail of a helper.
const helperEnv = "XC_TESTNS_JAIL"

// request is what a helper does: serve by a name, or call. The answer is what was
// said, or what is wrong.
type request struct{ Serve, Network, Address string }

type answer struct{ Said, Err string }

// help is the helper.
func help(jid int) {
	if _, _, errno := unix.Syscall(unix.SYS_JAIL_ATTACH, uintptr(jid), 0, 0); errno != 0 {
		fmt.Fprintf(os.Stderr, "enter jail %d: %v\n", jid, errno)
		os.Exit(1)
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			return // it is the end
		}
		var a answer
		if r.Serve == "" {
			a.Said = call(r.Network, r.Address)
		} else if _, err := serve(r.Network, r.Address, r.Serve); err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return
		}
	}
}

// ask lets the helper do something.
func (s *Stack) ask(t testing.TB, r request) answer {
	t.Helper()
	if s.in == nil {
		s.start(t)
	}
	var a answer
	err := s.in.Encode(r)
	if err == nil {
		err = s.out.Decode(&a)
	}
	if err != nil {
		t.Fatalf("helper in jail %d: %v", s.jid, err)
	}
	if a.Err != "" {
		t.Error(a.Err)
	}
	return a
}

// start starts the helper.
func (s *Stack) start(t testing.TB) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Dir, c.Stderr, c.Env = "/", os.Stderr, append(os.Environ(), helperEnv+"="+strconv.Itoa(s.jid))
	var in io.WriteCloser
	var out io.ReadCloser
	if in, err = c.StdinPipe(); err == nil {
		out, err = c.StdoutPipe()
	}
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = json.NewEncoder(in), json.NewDecoder(out)
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended with its jail
		_ = c.Wait()
	})
}

// Serve answers each call with a name and the address that called.
func (s *Stack) Serve(t testing.TB, network, address, name string) {
	t.Helper()
	if s.jid == 0 {
		l, err := serve(network, address, name)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		return
	}
	s.ask(t, request{Serve: name, Network: network, Address: address})
}

// Call returns what the called said; "" when nobody did.
func (s *Stack) Call(t testing.TB, network, address string) string {
	t.Helper()
	if s.jid == 0 {
		return call(network, address)
	}
	return s.ask(t, request{Network: network, Address: address}).Said
}

// NewStack makes one that lasts as long as the test, and that an epair joins to
// ours: here the end is called name, there eth0. Both are up, and addresses of v6
// can be used at once. It stands for the world outside.
func NewStack(t testing.TB, name string) *Stack {
	t.Helper()
	Run(t, "kldload", "-n", "if_epair")
	a := Run(t, "ifconfig", "epair", "create")
	t.Cleanup(func() { Run(t, "ifconfig", name, "destroy") })
	Run(t, "ifconfig", a, "name", name)
	here := &Stack{}
	here.raise(t, name)
	jid, err := strconv.Atoi(Run(t, "jail", "-i", "-c", "name=xctest-"+name, "path=/", "persist", "vnet=new"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Stack{jid: jid}
	t.Cleanup(func() { Run(t, "jail", "-r", strconv.Itoa(jid)) })
	b := strings.TrimSuffix(a, "a") + "b"
	Run(t, "ifconfig", b, "vnet", strconv.Itoa(jid))
	s.ifconfig(t, b, "name", "eth0")
	s.raise(t, "eth0")
	s.ifconfig(t, "lo0", "inet", "127.0.0.1/8", "up")
	return s
}

// raise brings an interface up, for addresses of v6 that can be used at once.
func (s *Stack) raise(t testing.TB, name string) {
	t.Helper()
	s.ifconfig(t, name, "inet6", "no_dad", "-ifdisabled")
	s.ifconfig(t, name, "up")
}

// ifconfig runs ifconfig(8) in the stack.
func (s *Stack) ifconfig(t testing.TB, args ...string) {
	t.Helper()
	if s.jid != 0 {
		args = append([]string{"-j", strconv.Itoa(s.jid)}, args...)
	}
	Run(t, "ifconfig", args...)
}

// Addr gives an interface an address, with the length of its network.
func (s *Stack) Addr(t testing.TB, name, prefix string) {
	t.Helper()
	family := "inet"
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		family = "inet6"
	}
	s.ifconfig(t, name, family, prefix, "alias")
}

// StackOf is the network stack of a process: that of the jail it is in.
func StackOf(t testing.TB, pid int) *Stack {
	t.Helper()
	jid, err := strconv.Atoi(Run(t, "ps", "-o", "jid=", "-p", strconv.Itoa(pid)))
	if err != nil {
		t.Fatal(err)
	}
	return &Stack{jid: jid}
}

// Forward lets this stack pass packets on.
func Forward(t testing.TB) { t.Helper(); forward(t, "1") }

// NoForward lets it not do so, where it did.
func NoForward(t testing.TB) { t.Helper(); forward(t, "0") }

func forward(t testing.TB, value string) {
	t.Helper()
	for _, name := range []string{"net.inet.ip.forwarding", "net.inet6.ip6.forwarding"} {
		old := Run(t, "sysctl", "-n", name)
		Run(t, "sysctl", name+"="+value)
		t.Cleanup(func() { Run(t, "sysctl", name+"="+old) })
	}
}

// Run runs a program of the base system, and returns what it prints without the
// space around it.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	var stderr strings.Builder
	c.Stderr = &stderr // pfctl(8) says there what its kernel does not have
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
