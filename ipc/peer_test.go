package ipc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPeer(t *testing.T) {
	leaks(t)
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Peer()
	if err != nil {
		t.Fatal(err)
	}
	if int(p.UID) != os.Geteuid() || int(p.GID) != os.Getegid() || p.PID != os.Getpid() {
		t.Errorf("%+v", p)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range p.Groups {
		if !slices.Contains(groups, int(g)) {
			t.Errorf("group %d is not one of %v", g, groups)
		}
	}
	if err := p.Here(); err != nil {
		t.Errorf("this process is elsewhere: %v", err)
	}
	unseen, other := p, p
	unseen.PID, other.PID = 0, 1<<30 // of another namespace; of nobody
	for _, p := range []Peer{unseen, other} {
		if err := p.Here(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("pid %d is here: %v", p.PID, err)
		}
	}
	if err := (Peer{}).Here(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("nobody is here: %v", err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if err := p.Here(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the peer of a closed connection is here: %v", err)
	}
}

// TestIntegrationPeerElsewhere looks at a process in another mount namespace or
// jail, and at one that is not.
func TestIntegrationPeerElsewhere(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a mount namespace or a jail: go test -exec sudo -run Integration ./ipc")
	}
	leaks(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, away := range []bool{false, true} {
		cmd := command(t, exe, away)
		cmd.Env = append(os.Environ(), dialEnv+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewConn(nc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Peer()
		if err != nil || p.UID != 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if err := p.Here(); (err != nil) != away || away && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("away %v: %v", away, err)
		} else {
			t.Log(err)
		}
		if err := errors.Join(c.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
		if err := p.Here(); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a peer that has exited is here: %v", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
