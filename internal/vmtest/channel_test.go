package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// wire gives what the agent says and takes what it is told.
type wire struct {
	io.Reader
	told bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) { return w.told.Write(p) }

func TestChannelRun(t *testing.T) {
	for _, c := range []struct {
		name, says, out, rest string
		exit                  int
		err                   string
	}{
		{name: "plain", says: "\036X start\nhello\n\036X exit 0\n", out: "hello\n"},
		{name: "failure", says: "\036X start\n\036X exit 1\n", exit: 1},
		{name: "no newline at the end", says: "\036X start\nhello\036X exit 137\n", out: "hello", exit: 137},
		{name: "any bytes", says: "\036X start\n\x00\xff\036\036X\036Y exit 3\n\r\n\036X exit 0\n", out: "\x00\xff\036\036X\036Y exit 3\n\r\n"},
		{name: "an earlier job goes on", says: "late\n\036W exit 9\n\036X start\na\036X exit 0\nlater", out: "a", rest: "later"},
		{name: "no start", says: "\036X begin\n", err: `"begin" instead of start`},
		{name: "no status", says: "\036X start\na\036X exit one\n", out: "a", err: `"exit one" instead of an exit status`},
		{name: "a status that cannot be", says: "\036X start\n\036X exit 256\n", err: "instead of an exit status"},
		{name: "the end while it runs", says: "\036X start\nsome\036X", out: "some", err: "EOF"},
		{name: "the end before", says: "", err: "EOF"},
	} {
		for _, split := range []struct {
			name string
			f    func(io.Reader) io.Reader
		}{{"whole", func(r io.Reader) io.Reader { return r }}, {"bytes", iotest.OneByteReader}, {"with error", iotest.DataErrReader}} {
			t.Run(c.name+"/"+split.name, func(t *testing.T) {
				w := &wire{Reader: split.f(strings.NewReader(c.says))}
				ch := &channel{rw: w}
				var out bytes.Buffer
				started := false
				exit, err := ch.run("X", 7, &out, func() { started = true })
				if got := w.told.String(); got != "run X 7\n" {
					t.Errorf("the agent was told %q", got)
				}
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				if out.String() != c.out || exit != c.exit {
					t.Errorf("got %q %d, want %q %d", out.String(), exit, c.out, c.exit)
				}
				if err == nil && (!started || !strings.HasPrefix(c.rest, string(ch.rest))) {
					t.Errorf("started %v, left %q", started, ch.rest)
				}
			})
		}
	}
}

// TestChannelStreams: output is passed on when it comes, not with its line.
func TestChannelStreams(t *testing.T) {
	r, agent := io.Pipe()
	ch := &channel{rw: &wire{Reader: r}}
	out, w := io.Pipe()
	end := make(chan error, 1)
	go func() {
		_, err := ch.run("X", 1, w, func() {})
		end <- err
	}()
	buf := make([]byte, 10)
	for _, s := range []string{"\036X start\n.", ".", "."} {
		if _, err := io.WriteString(agent, s); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Read(buf); err != nil || string(buf[:n]) != "." {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	agent.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-end; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func FuzzChannel(f *testing.F) {
	f.Add("out", "before", 3)
	f.Add("\036X\036X exit", "\036X", 1)
	f.Add("", "\036", 2)
	f.Fuzz(func(t *testing.T, out, before string, step int) {
		const start, exit = "\036X start\n", "\036X exit 5\n"
		if strings.Contains(out+exit[:3], "\036X ") || strings.Contains(before+start[:3], "\036X ") &&
			strings.Index(before+start, "\036X ") != len(before) || strings.Contains(out, "\036X ") {
			t.Skip("contains the mark")
		}
		if step < 1 || step > 100 || strings.Index(out+exit, "\036X ") != len(out) {
			t.Skip("no such step, or the mark would begin in the output")
		}
		ch := &channel{rw: &wire{Reader: &stepReader{before + start + out + exit, step}}}
		var got bytes.Buffer
		n, err := ch.run("X", 1, &got, func() {})
		if err != nil || n != 5 || got.String() != out {
			t.Errorf("got %q %d %v, want %q", got.String(), n, err, out)
		}
	})
}

// stepReader reads so many bytes at a time.
type stepReader struct {
	s    string
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.step)], r.s)
	r.s = r.s[n:]
	return n, nil
}
