package ipc

import (
	"errors"
	"io/fs"
	"os"
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
