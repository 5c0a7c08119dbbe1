package outfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/internal/outfile"
)

// write makes the file of that name, and ends with err.
func write(t *testing.T, name, content string, err error) error {
	t.Helper()
	f, openErr := outfile.Create(name)
	if openErr != nil {
		return openErr
	}
	if _, err := f.WriteString(content); err != nil {
		t.Error(err)
	}
	return f.Finish(err)
}

// in runs the test in a directory of its own and returns a check that it has these
// files and no other.
func in(t *testing.T) (holds func(names ...string)) {
	t.Helper()
	t.Chdir(t.TempDir())
	return func(names ...string) {
		t.Helper()
		entries, err := os.ReadDir(".")
		if err != nil || len(entries) != len(names) {
			t.Errorf("%v, %v: want %q", entries, err, names)
		}
	}
}

func content(t *testing.T, name, want string) {
	t.Helper()
	if got, err := os.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("%s: %q, %v; want %q", name, got, err, want)
	}
}

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

var errBroken = errors.New("broken")

func TestNew(t *testing.T) {
	holds := in(t)
	if err := write(t, "a", "1", errBroken); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	holds()
	if err := write(t, "a", "1", nil); err != nil {
		t.Error(err)
	}
	content(t, "a", "1")
	if err := os.WriteFile("like", nil, 0o666); err != nil { // as the umask wants it
		t.Fatal(err)
	}
	if got, want := mode(t, "a"), mode(t, "like"); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	holds("a", "like")
}

func TestReplaced(t *testing.T) {
	holds := in(t)
	if err := errors.Join(os.WriteFile("a", []byte("a long one"), 0o600), os.Chmod("a", 0o626)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown("a", 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := write(t, "a", "1", errBroken); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	content(t, "a", "a long one")
	if err := write(t, "a", "1", nil); err != nil {
		t.Error(err)
	}
	content(t, "a", "1")
	after, err := os.Stat("a")
	if err != nil || after.Mode() != before.Mode() {
		t.Errorf("%v, %v", after.Mode(), err)
	}
	was, is := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t)
	if was.Uid != is.Uid || was.Gid != is.Gid {
		t.Errorf("of %d:%d, was of %d:%d", is.Uid, is.Gid, was.Uid, was.Gid)
	}
	holds("a")
}

// Links stay, relative ones and behind directories that are links, and whether there
// was something where they lead or not.
func TestLinks(t *testing.T) {
	holds := in(t)
	err := errors.Join(os.MkdirAll("d/e", 0o755), os.Symlink("d/e", "dir"), os.WriteFile("d/old", []byte("old"), 0o644),
		os.Symlink("../old", "d/e/link"), os.Symlink("d/new", "nowhere"), os.Symlink("dir/link", "chain"))
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"dir/link": "d/old", "chain": "d/old", "nowhere": "d/new",
		"dir/../other": "d/other", // in the directory above d/e, not in this one
	} {
		if err := write(t, name, "by "+name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		content(t, target, "by "+name)
	}
	for _, link := range []string{"d/e/link", "chain", "nowhere"} {
		if mode(t, link)&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more", link)
		}
	}
	if err := write(t, "chain", "1", errBroken); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	holds("d", "dir", "nowhere", "chain")
	if entries, err := os.ReadDir("d"); err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What is no regular file is written to and stays, also after a failure.
func TestSpecial(t *testing.T) {
	holds := in(t)
	if err := errors.Join(syscall.Mkfifo("fifo", 0o600), os.Symlink("fifo", "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "link"} {
		got := make(chan string)
		go func() {
			b, _ := os.ReadFile("fifo")
			got <- string(b)
		}()
		if err := write(t, name, "1", nil); err != nil {
			t.Error(err)
		}
		if s := <-got; s != "1" {
			t.Errorf("%q", s)
		}
		if mode(t, "fifo")&fs.ModeNamedPipe == 0 {
			t.Error("the FIFO is none any more")
		}
	}
	for _, err := range []error{nil, errBroken} {
		if got := write(t, os.DevNull, "1", err); !errors.Is(got, err) {
			t.Error(got)
		}
		if mode(t, os.DevNull)&fs.ModeCharDevice == 0 {
			t.Fatal("the device is none any more")
		}
	}
	holds("fifo", "link")
}

// Standard output under a name: what it is, it is written to. On Linux that is a link
// of /proc to the file, on FreeBSD a device whose opening duplicates the descriptor.
func TestStandardOutput(t *testing.T) {
	if os.Getenv("OUTFILE_STDOUT") != "" { // before there is anything to clean up
		if err := write(t, "/dev/stdout", "1", nil); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	in(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create("out")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestStandardOutput$")
	cmd.Env = append(os.Environ(), "OUTFILE_STDOUT=1")
	cmd.Stdout = out
	if err := errors.Join(cmd.Run(), out.Close()); err != nil {
		t.Fatal(err)
	}
	content(t, "out", "1")
	cmd = exec.Command(exe, "-test.run=^TestStandardOutput$")
	cmd.Env = append(os.Environ(), "OUTFILE_STDOUT=1")
	if got, err := cmd.Output(); err != nil || string(got) != "1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	holds := in(t)
	if err := os.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		want error
	}{
		{"", fs.ErrNotExist}, {"missing/a", fs.ErrNotExist}, {"missing/", fs.ErrNotExist}, {"dir", syscall.EISDIR}, {"dir/", syscall.EISDIR},
	} {
		if f, err := outfile.Create(tc.name); !errors.Is(err, tc.want) {
			t.Errorf("%q: %v, %v", tc.name, f, err)
		}
	}
	if os.Geteuid() != 0 { // whom nothing stops
		if err := os.WriteFile("read-only", nil, 0o444); err != nil {
			t.Fatal(err)
		}
		if _, err := outfile.Create("read-only"); !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
		os.Remove("read-only")
	}
	holds("dir")
}

func TestIs(t *testing.T) {
	in(t)
	if err := errors.Join(os.WriteFile("a", nil, 0o644), os.Mkdir("d", 0o755), os.WriteFile("d/a", nil, 0o644), os.Symlink(".", "here")); err != nil {
		t.Fatal(err)
	}
	f, err := outfile.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"a": true, "here/a": true, f.Name(): true, "d/a": false, "d": false, "missing": false} {
		if got := f.Is(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if err := f.Finish(errBroken); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	null, err := outfile.Create(os.DevNull)
	if err != nil || null.Is(os.DevNull) {
		t.Errorf("a device is no part of what is written to it: %v", err)
	}
	null.Finish(nil)
}

func TestInterruptible(t *testing.T) {
	caught := make(chan os.Signal, 1) // under nohup(1) SIGHUP is ignored
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		ctx, stop := outfile.Interruptible(t.Context())
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Errorf("%v did not end it", sig)
		}
		stop()
	}
}

// A signal that the program was started to ignore is ignored still.
func TestInterruptibleIgnored(t *testing.T) {
	if os.Getenv("OUTFILE_IGNORED") != "" {
		ctx, stop := outfile.Interruptible(t.Context())
		defer stop()
		if err := errors.Join(syscall.Kill(os.Getpid(), syscall.SIGHUP), ctx.Err()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Error("SIGHUP, which was ignored, has ended it")
		case <-time.After(100 * time.Millisecond):
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0" -test.run='^TestInterruptibleIgnored$'`, exe)
	cmd.Env = append(os.Environ(), "OUTFILE_IGNORED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Nobody finds half a file under the name.
func TestUnfinishedIsHidden(t *testing.T) {
	holds := in(t)
	f, err := outfile.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "half"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there before it is whole: %v", err)
	}
	if filepath.Base(f.Name())[0] != '.' {
		t.Errorf("%s is no hidden file", f.Name())
	}
	if err := f.Finish(nil); err != nil {
		t.Error(err)
	}
	content(t, "a", "half")
	holds("a")
}
