package logfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/site/logfile"
)

var epoch = time.Date(2026, 1, 2, 15, 4, 5, 6, time.UTC)

// at is n seconds after the epoch.
func at(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

func read(t *testing.T, path string, q logfile.Query) []logfile.Record {
	t.Helper()
	var got []logfile.Record
	err := logfile.Read(t.Context(), path, q, func(r logfile.Record) error {
		got = append(got, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func text(records []logfile.Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%c%s", r.Stream, r.Data)
	}
	return b.String()
}

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := &logfile.Writer{Path: path}
	w.Write(logfile.Stdout, epoch, []byte("one <&>\ntwo\tü\"\\\r\x00"))
	w.Write(logfile.Stderr, at(1), []byte{0xff, '\n'})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"t":"2026-01-02T15:04:05.000000006Z","s":"o","d":"one <&>\n"}
{"t":"2026-01-02T15:04:05.000000006Z","s":"o","d":"two\tü\"\\\r\u0000"}
{"t":"2026-01-02T15:04:06.000000006Z","s":"e","b":"/wo="}
`
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	records := read(t, path, logfile.Query{})
	if len(records) != 3 || !records[0].Time.Equal(epoch) || string(records[1].Data) != "two\tü\"\\\r\x00" ||
		records[2].Stream != logfile.Stderr || !bytes.Equal(records[2].Data, []byte{0xff, '\n'}) {
		t.Errorf("records: %v", records)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
}

func TestReadMissingLogIsEmpty(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "log"), logfile.Query{}); len(got) != 0 {
		t.Errorf("records: %v", got)
	}
}

func TestRotation(t *testing.T) {
	for _, files := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			dir := t.TempDir()
			w := &logfile.Writer{Path: filepath.Join(dir, "log"), MaxBytes: 1000, MaxFiles: files}
			defer w.Close()
			var all strings.Builder
			for i := range 200 {
				line := fmt.Sprintf("line %d\n", i)
				all.WriteString("o" + line)
				w.Write(logfile.Stdout, at(i), []byte(line))
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != max(files, 1) {
				t.Errorf("%d files, %v", len(entries), err)
			}
			for _, e := range entries {
				if info, err := e.Info(); err != nil || info.Size() > 1000 {
					t.Errorf("%s has %d bytes, %v", e.Name(), info.Size(), err)
				}
			}
			got := text(read(t, w.Path, logfile.Query{}))
			if got == "" || !strings.HasSuffix(all.String(), got) {
				t.Errorf("the end of the log is not there: %q", got)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log"), MaxBytes: 200, MaxFiles: 10} // a few records a file
	w.Write(logfile.Stdout, at(0), []byte("a\n"))
	w.Write(logfile.Stdout, at(1), []byte("b\n"))
	w.Write(logfile.Stdout, at(2), []byte("c:"))
	w.Write(logfile.Stdout, at(3), []byte("d\n"))
	w.Write(logfile.Stderr, at(4), []byte("e\n"))
	w.Write(logfile.Stdout, at(5), []byte("f\ng"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		q    logfile.Query
		want string
	}{
		"all":              {logfile.Query{}, "oa\nob\noc:od\nee\nof\nog"},
		"since":            {logfile.Query{Since: at(3)}, "od\nee\nof\nog"},
		"until":            {logfile.Query{Until: at(1)}, "oa\nob\n"},
		"since and until":  {logfile.Query{Since: at(1), Until: at(2)}, "ob\noc:"},
		"tail 0":           {logfile.Query{Tail: n(0)}, ""},
		"tail 1":           {logfile.Query{Tail: n(1)}, "og"},
		"tail 2":           {logfile.Query{Tail: n(2)}, "of\nog"},
		"tail 4":           {logfile.Query{Tail: n(4)}, "oc:od\nee\nof\nog"},
		"tail 5":           {logfile.Query{Tail: n(5)}, "ob\noc:od\nee\nof\nog"},
		"tail 99":          {logfile.Query{Tail: n(99)}, "oa\nob\noc:od\nee\nof\nog"},
		"tail until":       {logfile.Query{Tail: n(2), Until: at(3)}, "ob\noc:od\n"},
		"tail since":       {logfile.Query{Tail: n(9), Since: at(4)}, "ee\nof\nog"},
		"nothing that new": {logfile.Query{Since: at(9)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := text(read(t, w.Path, c.q)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTailOfALongLog(t *testing.T) {
	w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log")}
	var want strings.Builder
	for i := range 5000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", i%300))
		w.Write(logfile.Stdout, at(i), []byte(line))
		if i >= 1000 {
			want.WriteString("o" + line)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n := 4000
	if got := text(read(t, w.Path, logfile.Query{Tail: &n})); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

func TestTornRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := &logfile.Writer{Path: path}
	w.Write(logfile.Stdout, at(0), []byte("a\n"))
	w.Write(logfile.Stdout, at(1), []byte("torn\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-5); err != nil { // a crash in the middle of a write
		t.Fatal(err)
	}
	one := 1
	if got := text(read(t, path, logfile.Query{Tail: &one})); got != "oa\n" {
		t.Errorf("tail: %q", got)
	}
	w = &logfile.Writer{Path: path}
	w.Write(logfile.Stdout, at(2), []byte("b\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := text(read(t, path, logfile.Query{})); got != "oa\nob\n" {
		t.Errorf("records: %q", got)
	}
}

func TestFollow(t *testing.T) {
	for _, maxBytes := range []int64{0, 400} {
		t.Run(fmt.Sprintf("rotate at %d", maxBytes), func(t *testing.T) {
			w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log"), MaxBytes: maxBytes, MaxFiles: 100}
			ended := make(chan struct{})
			lines := make(chan string, 1000)
			done := make(chan error, 1)
			go func() { // begins before there is a log
				done <- logfile.Read(t.Context(), w.Path, logfile.Query{Follow: ended}, func(r logfile.Record) error {
					lines <- string(r.Data)
					return nil
				})
			}()
			for i := range 100 {
				want := fmt.Sprintf("line %d\n", i)
				w.Write(logfile.Stdout, at(i), []byte(want))
				if i%25 != 0 { // meet the reader now and then
					continue
				}
				for got := range lines {
					if got == want {
						break
					}
				}
			}
			w.Write(logfile.Stdout, at(100), []byte("last, unterminated"))
			close(ended)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			close(lines)
			n, last := 75, ""
			for last = range lines {
				if n++; n <= 99 && last != fmt.Sprintf("line %d\n", n) {
					t.Errorf("got %q as line %d", last, n)
				}
			}
			if n != 100 || last != "last, unterminated" {
				t.Errorf("%d lines, last %q", n, last)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Who follows and sleeps while what it has not read is rotated away is told so.
func TestFollowerThatIsTooSlow(t *testing.T) {
	w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log"), MaxBytes: 400, MaxFiles: 2}
	defer w.Close()
	write := func(from, to int) {
		for i := from; i < to; i++ {
			w.Write(logfile.Stdout, at(i), fmt.Appendf(nil, "line %d\n", i))
		}
	}
	write(0, 3)
	ended := make(chan struct{})
	var got []string
	notes := 0
	err := logfile.Read(t.Context(), w.Path, logfile.Query{Follow: ended}, func(r logfile.Record) error {
		if r.Stream == logfile.Note {
			notes++
			return nil
		}
		got = append(got, string(r.Data))
		switch len(got) {
		case 1:
			write(3, 103)
			close(ended)
		}
		return nil
	})
	if err != nil || notes != 1 || got[2] != "line 2\n" || got[len(got)-1] != "line 102\n" || len(got) > 50 {
		t.Errorf("%d notes, %q, %v", notes, got, err)
	}
}

func TestFollowEndsWithItsContextAndItsReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithCancel(t.Context())
	w := &logfile.Writer{Path: path}
	defer w.Close()
	w.Write(logfile.Stdout, at(0), []byte("a\n"))
	forever := make(chan struct{})
	err := logfile.Read(ctx, path, logfile.Query{Follow: forever}, func(logfile.Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	err = logfile.Read(t.Context(), path, logfile.Query{Follow: forever}, func(logfile.Record) error { return syscall.EPIPE })
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("emit failed: %v", err)
	}
	w.Write(logfile.Stdout, at(2), []byte("b\n"))
	err = logfile.Read(t.Context(), path, logfile.Query{Follow: forever, Until: at(1)}, func(logfile.Record) error { return nil })
	if err != nil {
		t.Errorf("until has passed: %v", err)
	}
}

// A real full disk needs a mount of its own; a file size limit makes the
// kernel do the same: a short write, then an error. It holds for all files of
// a process, also for those that the testing package writes meanwhile: so it
// is a process of its own that is limited.
func TestFullDisk(t *testing.T) {
	if os.Getenv("XC_TEST_FULL_DISK") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "XC_TEST_FULL_DISK=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFullDisk")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 150
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log")}
	for i := range 5 { // the third does not fit
		w.Write(logfile.Stdout, at(i), []byte("line\n"))
	}
	if got := text(read(t, w.Path, logfile.Query{})); got != "oline\noline\n" {
		t.Errorf("while full: %q", got)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	w.Write(logfile.Stdout, at(9), []byte("room\n"))
	want := "oline\noline\nx15 bytes of output were not logged: write " + w.Path + ": file too large\noroom\n"
	if got := text(read(t, w.Path, logfile.Query{})); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirectoryThatComesLate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	w := &logfile.Writer{Path: filepath.Join(dir, "log")}
	w.Write(logfile.Stdout, at(0), []byte("lost\n"))
	if err := w.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("close must tell of what was lost: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Write(logfile.Stdout, at(1), []byte("kept\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := text(read(t, w.Path, logfile.Query{})); !strings.HasPrefix(got, "x5 bytes of output were not logged") || !strings.HasSuffix(got, "okept\n") {
		t.Errorf("got %q", got)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("a\nb"), 3)
	f.Add([]byte("\xff\x00\"\\\n\n\r\u2028é"), 2)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		w := &logfile.Writer{Path: filepath.Join(t.TempDir(), "log"), MaxBytes: 100, MaxFiles: 1000}
		want := data
		for i := 0; len(data) > 0 && i < 20; i++ {
			n := min(max(cut, 1), len(data))
			if i == 19 {
				n = len(data)
			}
			w.Write(logfile.Stdout, at(i), data[:n])
			data = data[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, r := range read(t, w.Path, logfile.Query{}) {
			got = append(got, r.Data...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("wrote %q, read %q", want, got)
		}
	})
}

// FuzzRead reads what somebody else has written.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"t":"2026-01-02T15:04:05Z","s":"o","d":"a\n"}`+"\n"), 1)
	f.Add([]byte("{\n\n{}\n[]\n\"\"\n{\"t\":1}\n{\"t\":\"2026-01-02T15:04:05Z\",\"s\":\"oo\"}\n"), 0)
	f.Add([]byte("\n\n\xff"), 5)
	f.Fuzz(func(t *testing.T, data []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		all, last := read(t, path, logfile.Query{}), read(t, path, logfile.Query{Tail: &tail})
		if !strings.HasSuffix(text(all), text(last)) {
			t.Errorf("tail %d is %q of %q", tail, text(last), text(all))
		}
	})
}

func ExampleRead() {
	dir, err := os.MkdirTemp("", "logfile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	w := &logfile.Writer{Path: filepath.Join(dir, "c1.log"), MaxBytes: 10 << 20, MaxFiles: 3}
	w.Write(logfile.Stdout, time.Now(), []byte("to be\n"))
	w.Write(logfile.Stderr, time.Now(), []byte("not to be\n"))
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}
	err = logfile.Read(context.Background(), w.Path, logfile.Query{}, func(r logfile.Record) error {
		fmt.Printf("%c %s", r.Stream, r.Data)
		return nil
	})
	fmt.Println(err)
	// Output:
	// o to be
	// e not to be
	// <nil>
}
