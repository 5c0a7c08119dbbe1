package cli_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

func TestSaveAndLoad(t *testing.T) {
	f := newFake(t)
	if r := f.xc(t, "save", "alpine:3", "alpine:3"); r.code != 0 || r.out != "archive of alpine:3 alpine:3" {
		t.Errorf("%+v", r)
	}
	name := filepath.Join(t.TempDir(), "archive")
	if r := f.xc(t, "image", "save", "-o", name, "nothing"); r.code != 125 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a save that failed has left a file")
	}
	if r := f.xc(t, "save", "-o", name, "alpine:3"); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
	if r := f.xc(t, "load", "-i", name, "--name", "x:1"); r.out != "Loaded image: a:1\n" || f.archive != "archive of alpine:3" || f.loaded != (api.LoadSpec{Name: "x:1"}) {
		t.Errorf("%+v %q %+v", r, f.archive, f.loaded)
	}
	a, done := f.app(t, "from a stream")
	if r := done(a.Run(t.Context(), []string{"load", "-q"})); r.out != "sha256:loaded\n" || f.archive != "from a stream" {
		t.Errorf("%+v %q", r, f.archive)
	}
}

// debris fails the test unless the directory has these files and no other.
func debris(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Errorf("%v, %v: want %q", entries, err, want)
	}
}

// What --output names is not lost to a save that fails, nor replaced where it is no
// regular file: as root that was the removal of /dev/null.
func TestSaveKeepsWhatWasThere(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	old, link, fifo := filepath.Join(dir, "old"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	err := errors.Join(os.WriteFile(old, []byte("old"), 0o640), os.Symlink("old", link), syscall.Mkfifo(fifo, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{old, link} {
		if r := f.xc(t, "save", "-o", name, "nothing"); r.code != 125 {
			t.Errorf("%+v", r)
		}
		if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
			t.Errorf("%s: after a failure there is %q, %v", name, b, err)
		}
	}
	if r := f.xc(t, "save", "-o", link, "alpine:3"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "archive of alpine:3" {
		t.Errorf("behind the link there is %q, %v", b, err)
	}
	if info, err := os.Stat(old); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	for image, code := range map[string]int{"alpine:3": 0, "nothing": 125} {
		got := make(chan string)
		go func() {
			b, _ := os.ReadFile(fifo)
			got <- string(b)
		}()
		if r := f.xc(t, "save", "-o", fifo, image); r.code != code {
			t.Errorf("%+v", r)
		}
		if s := <-got; (s != "") != (code == 0) {
			t.Errorf("%s: from the FIFO came %q", image, s)
		}
	}
	for name, kind := range map[string]fs.FileMode{link: fs.ModeSymlink, fifo: fs.ModeNamedPipe} {
		if info, err := os.Lstat(name); err != nil || info.Mode().Type() != kind {
			t.Errorf("%s is another: %v, %v", name, info, err)
		}
	}
	debris(t, dir, "old", "link", "fifo")
}

// A save that is interrupted leaves what was there, and nothing of its own.
func TestSaveInterrupted(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.saving = func(ctx context.Context) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return errors.New("it was not interrupted")
		}
	}
	if r := f.xc(t, "save", "-o", old, "alpine:3"); r.code != 125 || !strings.Contains(r.errout, "canceled") {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	debris(t, dir, "old")
}
