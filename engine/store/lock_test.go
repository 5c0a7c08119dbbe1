package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/engine/store"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	first, err := store.NewLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Announce("/run/xc.sock"); err != nil {
		t.Fatal(err)
	}
	_, err = store.NewLock(dir)
	var locked *store.ErrLocked
	if !errors.As(err, &locked) || !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Fatalf("second lock: %v", err)
	}
	if want := (store.ErrLocked{StateDir: dir, PID: os.Getpid(), Socket: "/run/xc.sock"}); *locked != want {
		t.Errorf("holder: %+v, want %+v", *locked, want)
	}
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "/run/xc.sock") {
		t.Errorf("message: %v", err)
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Announce("x"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("announce after close: %v", err)
	}
	again, err := store.NewLock(dir)
	if err != nil {
		t.Fatalf("after the holder closed: %v", err)
	}
	defer again.Close()
	if _, err := store.NewLock(dir); !errors.As(err, &locked) || locked.Socket != "" {
		t.Errorf("the socket of the holder before is still announced: %v", err)
	}
}

func TestLockFileIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.NewLock(dir); err == nil {
		t.Error("a symbolic link was taken as the lock")
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
		t.Errorf("the target was touched: %q, %v", b, err)
	}
}
