package cli_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// display is what somebody sees of a terminal that understands what progress writes.
type display struct {
	t          *testing.T
	cols, rows int
	lines      [][]byte // from the first one ever shown, also what has scrolled away
	row, col   int      // of the cursor
	frames     int
	pending    []byte // the beginning of an escape sequence
	input      chan []byte
}

func (d *display) top() int { return max(0, len(d.lines)-d.rows) }

func (d *display) write(b []byte) {
	b = append(d.pending, b...)
	d.pending = nil
	for len(b) > 0 {
		if b[0] != 0x1b {
			d.character(b[0])
			b = b[1:]
			continue
		}
		end := strings.IndexFunc(string(b), func(r rune) bool { return r >= 'A' && r <= 'Z' })
		if end < 0 {
			d.pending = b
			return
		}
		d.escape(string(b[1 : end+1]))
		b = b[end+1:]
	}
}

func (d *display) character(c byte) {
	for len(d.lines) <= d.row {
		d.lines = append(d.lines, nil)
	}
	switch c {
	case '\r':
		d.col = 0
	case '\n':
		if d.row++; d.row == len(d.lines) {
			d.lines = append(d.lines, nil)
		}
	default:
		if d.col >= d.cols {
			d.t.Errorf("%q wraps after %d columns", d.lines[d.row], d.cols)
		}
		for len(d.lines[d.row]) <= d.col {
			d.lines[d.row] = append(d.lines[d.row], ' ')
		}
		d.lines[d.row][d.col] = c
		d.col++
	}
}

func (d *display) escape(s string) {
	n := 1
	switch {
	case s == "[K":
		d.lines[d.row] = d.lines[d.row][:min(d.col, len(d.lines[d.row]))]
	case s == "[J": // the end of a frame
		d.frames++
		if d.col != 0 {
			d.t.Errorf("after a frame the cursor is in column %d of %q", d.col, d.lines[d.row])
		}
		d.lines = d.lines[:d.row]
	case strings.HasSuffix(s, "A"):
		if _, err := fmt.Sscanf(s, "[%dA", &n); err != nil {
			d.t.Fatal(err)
		}
		d.row = max(d.row-n, d.top())
	default:
		d.t.Fatalf("what is %q?", s)
	}
}

func (d *display) text() string {
	var list []string
	for _, l := range d.lines {
		list = append(list, strings.TrimRight(string(l), " "))
	}
	return strings.TrimRight(strings.Join(list, "\n"), "\n")
}

// newDisplay reads what a screen shows.
func newDisplay(t *testing.T, s *screen, rows, cols uint16) *display {
	s.resize(rows, cols)
	d := &display{t: t, rows: int(rows), cols: int(cols), input: make(chan []byte, 100)}
	go func() {
		defer close(d.input)
		for b := make([]byte, 4096); ; b = make([]byte, 4096) {
			n, err := s.master.Read(b)
			if err != nil {
				return
			}
			d.input <- b[:n]
		}
	}()
	return d
}

// watch looks on until it sees what it waits for.
func (d *display) watch(see func() bool) {
	d.t.Helper()
	for !see() {
		select {
		case b := <-d.input:
			d.write(b)
		case <-time.After(20 * time.Second):
			d.t.Fatalf("shown is\n%s", d.text())
		}
	}
}

func step(layer int, phase string, at, of int64) api.PullProgress {
	return api.PullProgress{Layer: fmt.Sprintf("sha256:%064d", layer)[:7] + fmt.Sprintf("%064x", layer)[52:] + strings.Repeat("0", 52), Phase: phase, Current: at, Total: of}
}

// A line for each layer, drawn over in place, in the room there is: each case is what
// the window shows in the end, with what has scrolled away.
func TestProgressOnATerminal(t *testing.T) {
	const mb = 1_000_000
	for _, tc := range []struct {
		name       string
		rows, cols uint16
		steps      []api.PullProgress
		err        error
		want       string
	}{
		{"room", 24, 80, []api.PullProgress{
			step(1, "waiting", 0, 50*mb), step(2, "exists", 1234, 1234), step(1, "downloading", 123*mb/10, 50*mb), step(3, "waiting", 0, 0),
		}, errors.New("the registry went away"), `
000000000001 downloading [=======-----------------------]  12.3 MB / 50.0 MB
000000000002 exists      [==============================]  1.2 kB / 1.2 kB
000000000003 waiting
xc: the registry went away`},
		{"narrow", 24, 64, []api.PullProgress{step(1, "uploading", 25*mb, 50*mb)}, errors.New("x"), `
000000000001 uploading   [=======--------]  25.0 MB / 50.0 MB
xc: x`},
		{"no bar", 24, 50, []api.PullProgress{step(1, "uploading", 25*mb, 50*mb)}, errors.New("x"), `
000000000001 uploading    25.0 MB / 50.0 MB
xc: x`},
		{"cut", 24, 20, []api.PullProgress{step(1, "uploading", 25*mb, 50*mb)}, errors.New("x"), `
000000000001 upload
xc: x`},
		{"no size", 0, 0, []api.PullProgress{step(1, "done", 0, 999_950)}, nil, `
000000000001 done        [==============================]  1.0 MB / 1.0 MB`},
		{"many", 5, 80, []api.PullProgress{
			step(1, "downloading", 1, 2), step(2, "waiting", 0, 2), step(3, "waiting", 0, 2), step(4, "waiting", 0, 2), step(5, "waiting", 0, 2), step(6, "waiting", 0, 2),
			step(2, "done", 2, 2), step(5, "mounted", 2, 2),
		}, nil, `
000000000002 done        [==============================]  2.0 B / 2.0 B
000000000005 mounted     [==============================]  2.0 B / 2.0 B
000000000001 downloading [===============---------------]  1.0 B / 2.0 B
000000000003 waiting     [------------------------------]  0.0 B / 2.0 B
000000000004 waiting     [------------------------------]  0.0 B / 2.0 B
000000000006 waiting     [------------------------------]  0.0 B / 2.0 B`},
		{"too many", 4, 80, []api.PullProgress{
			step(1, "waiting", 0, 0), step(2, "done", 0, 0), step(3, "waiting", 0, 0), step(4, "waiting", 0, 0), step(5, "waiting", 0, 0),
		}, nil, `
000000000002 done
000000000001 waiting
000000000003 waiting
and 2 more`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, s := newFake(t), newScreen(t)
			d := newDisplay(t, s, tc.rows, tc.cols)
			if tc.cols == 0 {
				d.cols, d.rows = 80, 24
			}
			f.remote["new"] = api.Image{Digest: "sha256:pulled"}
			f.pulling = func(show func(api.PullProgress) error) error {
				for _, p := range tc.steps {
					if err := show(p); err != nil {
						return err
					}
				}
				return tc.err
			}
			code, want := f.start(s, "pull", "new"), tc.want[1:]
			if tc.err == nil {
				want += "\nsha256:pulled"
			}
			d.watch(func() bool { return d.text() == want })
			if got := <-code; (got == 0) != (tc.err == nil) {
				t.Errorf("exit code %d", got)
			}
		})
	}
}

// What is told quickly is shown ten times a second, the last of it also when nothing
// follows; a smaller window is heeded by the next frame.
func TestProgressInTime(t *testing.T) {
	f, s := newFake(t), newScreen(t)
	d := newDisplay(t, s, 10, 80)
	f.remote["new"] = api.Image{Digest: "sha256:pulled"}
	shown := make(chan struct{}, 2)
	look := func() {
		select {
		case <-shown:
		case <-t.Context().Done(): // the test has failed
		}
	}
	f.pulling = func(show func(api.PullProgress) error) error {
		for i := range int64(300) {
			if err := show(step(int(i%3), "downloading", i, 300)); err != nil {
				return err
			}
		}
		look()
		s.resize(10, 60)
		if err := show(step(0, "unpacking", 300, 300)); err != nil {
			return err
		}
		look()
		return nil
	}
	began := time.Now()
	code := f.start(s, "pull", "new")
	d.watch(func() bool {
		return strings.Contains(d.text(), " 299.0 B / 300.0 B") && strings.Count(d.text(), "\n") == 2
	})
	if most := int(time.Since(began)/(100*time.Millisecond)) + 2; d.frames > most {
		t.Errorf("%d frames in %v", d.frames, time.Since(began))
	}
	d.cols = 60
	shown <- struct{}{}
	d.watch(func() bool {
		return strings.HasPrefix(d.text(), "000000000000 unpacking   [===========]  300.0 B / 300.0 B\n")
	})
	shown <- struct{}{}
	d.watch(func() bool { return strings.HasSuffix(d.text(), "\nsha256:pulled") })
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}
