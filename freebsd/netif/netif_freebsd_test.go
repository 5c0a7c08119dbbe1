package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const envInside = "NETIF_TEST_INSIDE"

// TestIntegrationLoopback lets the test binary bring up lo0 in a vnet of its own.
func TestIntegrationLoopback(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a jail: run with go test -exec sudo")
	}
	name := fmt.Sprintf("xctest%dnet", os.Getpid())
	out, err := exec.Command("jail", "-i", "-c", "name="+name, "path=/", "persist", "vnet=new").CombinedOutput()
	if err != nil {
		t.Fatalf("jail: %s", out)
	}
	defer func() {
		if out, err := exec.Command("jail", "-r", name).CombinedOutput(); err != nil {
			t.Errorf("jail -r: %s", out)
		}
	}()
	jid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInside$", "-test.v")
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Jail: jid}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("inside: %v\n%s", err, out)
	}
}

// TestInside is what runs in the vnet.
func TestInside(t *testing.T) {
	if os.Getenv(envInside) == "" {
		t.Skip("runs as a child of TestIntegrationLoopback")
	}
	lo := func() Interface {
		t.Helper()
		all, err := List()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(i Interface) bool { return i.Name == "lo0" })
		if i < 0 {
			t.Fatalf("no lo0: %+v", all)
		}
		return all[i]
	}
	if i := lo(); i.Up || len(i.Addrs) > 0 {
		t.Errorf("before: %+v", i)
	}
	for range 2 {
		if err := Loopback(); err != nil {
			t.Fatal(err)
		}
	}
	i := lo()
	for _, want := range []string{"127.0.0.1/8", "::1/128"} {
		if !i.Up || !slices.Contains(i.Addrs, netip.MustParsePrefix(want)) {
			t.Errorf("want %s: %+v", want, i)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
		} else {
			c.Close()
		}
		l.Close()
	}
	if err := Down("lo0"); err != nil || lo().Up {
		t.Errorf("down: %v", err)
	}
	if err := Up("nosuch0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := AddAddr("nosuch0", netip.MustParsePrefix("10.0.0.1/8")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
