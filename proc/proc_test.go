package proc

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	if p, err := Read(os.Getpid()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("nothing is read here: ", err)
	} else if err != nil || p.PID != os.Getpid() || p.Parent != os.Getppid() || p.UID != os.Geteuid() ||
		p.Threads < 1 || p.Memory < 1<<16 || p.Memory > 1<<40 || !reflect.DeepEqual(p.Args, os.Args) {
		t.Errorf("myself: %+v, %v", p, err)
	}
	before := time.Now()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Read(cmd.Process.Pid)
	if err != nil || p.Parent != os.Getpid() || p.Name != filepath.Base("sleep") || math.Abs(p.Started.Sub(before).Seconds()) > 10 {
		t.Errorf("child: %+v, %v", p, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for p.State != 'Z' { // until it is waited for
		if p, err = Read(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // killed
	if _, err := Read(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
}

func TestParseStat(t *testing.T) {
	const line = "4242 (a (b) c) S 17 4242 4242 0 -1 4194304 107 0 0 0 150 75 3 4 20 0 3 0 12345 8192000 200 18446744073709551615 1 1\n"
	p, started, err := parseStat(line)
	want := Process{PID: 4242, Parent: 17, Name: "a (b) c", State: 'S', CPU: 2250 * time.Millisecond, Waited: 70 * time.Millisecond, Threads: 3}
	if err != nil || !reflect.DeepEqual(p, want) || started != 123450*time.Millisecond {
		t.Errorf("%+v, %v, %v", p, started, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 2", "x (y) S 1 2 3 4 5 6 7 8 9 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseStatm(t *testing.T) {
	if n, err := parseStatm("567 343 329 388 0 77 0\n", 4096); n != 343*4096 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "567", "567 x"} {
		if _, err := parseStatm(bad, 4096); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// What a process makes to be written is counted, and that of its children once it
// has waited for them.
func TestReadIO(t *testing.T) {
	before, err := ReadIO(os.Getpid())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("nothing is counted here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("sh", "-c", "dd if=/dev/zero of="+dir+"/x bs=4096 count=256 2>&1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	after, err := ReadIO(os.Getpid())
	if n := after.Written - before.Written; err != nil || n != 0 && n < 1<<20 || after.Read < before.Read { // 0: a file system in memory
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIO(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
}

func TestParseIO(t *testing.T) {
	io, err := parseIO("rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n")
	if err != nil || io != (IO{5, 6}) {
		t.Errorf("%+v, %v", io, err)
	}
	for _, bad := range []string{"", "read_bytes: 1\n", "read_bytes: x\nwrite_bytes: 1\n"} {
		if _, err := parseIO(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseArgs(t *testing.T) {
	for text, want := range map[string][]string{"": nil, "\x00": nil, "a\x00": {"a"}, "a\x00\x00b c\x00": {"a", "", "b c"}} {
		if got := parseArgs([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("1 (x) S 1 2 3 4 5 6 7 8 9 1 1 1 1 1 1 1 1 1 1 1 1 1"))
	f.Add(append([]byte{0x40, 4, 0, 0}, make([]byte, kinfoSize-4)...))
	f.Fuzz(func(_ *testing.T, b []byte) { // nothing panics
		_, _, _ = parseStat(string(b))
		_, _ = parseStatm(string(b), 4096)
		_, _ = parseKinfo(b, 4096)
		_, _ = parseBoot(string(b))
		_, _ = parseIO(string(b))
		_ = parseArgs(b)
	})
}
