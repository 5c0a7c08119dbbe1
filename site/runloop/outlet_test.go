package runloop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/logfile"
)

// outletPipe is an outlet into a pipe of which the test has the read end.
func outletPipe(t *testing.T) (*outlet, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return newOutlet(w), r
}

func TestOutletSkipsForOneThatIsBehind(t *testing.T) {
	o, r := outletPipe(t)
	const total = 1 << 20
	for i := range total / 1024 { // nobody reads: must come to an end all the same
		o.put(fmt.Appendf(nil, "%-1023d\n", i))
	}
	got := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	o.end()
	<-o.gone
	head, mark, found := strings.Cut(<-got, "\r\n[xc: ")
	var skipped int
	if _, err := fmt.Sscanf(mark, "%d bytes of output skipped]\r\n", &skipped); err != nil || !found || len(head)+skipped != total {
		t.Errorf("got %d bytes and %q: %v", len(head), mark, err)
	}
	for i := range len(head) / 1024 { // what came is what was first, whole
		if want := fmt.Sprintf("%-1023d\n", i); head[:1024] != want {
			t.Fatalf("line %d is %q", i, head[:1024])
		}
		head = head[1024:]
	}
}

func TestOutletWhoseReaderLeaves(t *testing.T) {
	o, r := outletPipe(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	o.put([]byte("x"))
	<-o.gone
	for range 1000 {
		o.put(make([]byte, 1024)) // neither waits nor counts
	}
	if len(o.buf) > 0 || o.skipped > 0 {
		t.Errorf("%d bytes kept, %d skipped", len(o.buf), o.skipped)
	}
}

func TestHubReplay(t *testing.T) {
	h := newHub(true)
	var all bytes.Buffer
	for i := range 20000 { // many small pieces, far more than is kept
		p := fmt.Appendf(nil, "line %d\n", i)
		all.Write(p)
		h.publish(logfile.Stdout, p)
		if i%1000 == 0 {
			h.publish(logfile.Stderr, []byte("err\n"))
		}
	}
	if len(h.ring) > 100 {
		t.Errorf("%d pieces", len(h.ring))
	}
	o, r := outletPipe(t)
	h.join(o, logfile.Stdout, true)
	h.publish(logfile.Stdout, []byte("live\n"))
	all.WriteString("live\n")
	h.end()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("line ")) || !bytes.HasSuffix(all.Bytes(), got) || len(got) < ringMax-100 || len(got) > ringMax+5 {
		t.Errorf("replayed %d bytes", len(got))
	}
	late, r := outletPipe(t)
	h.join(late, logfile.Stderr, true)
	if got, err := io.ReadAll(r); err != nil || string(got) != strings.Repeat("err\n", len(got)/4) || len(got) == 0 {
		t.Errorf("after the end: %q, %v", got, err)
	}
}

func TestHubKeepsNoMoreThanItMay(t *testing.T) {
	h := newHub(true)
	h.publish(logfile.Stdout, bytes.Repeat([]byte("a"), 3*ringMax))
	h.publish(logfile.Stdout, []byte("b"))
	if h.size != ringMax || len(h.ring) != 2 || len(h.ring[0].data) != ringMax-1 {
		t.Errorf("%d bytes in %d pieces", h.size, len(h.ring))
	}
}

func TestPumpDrainsWhatIsThere(t *testing.T) {
	r, w, err := pipe(0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // somebody outside holds it: there is no end
	if _, err := w.Write(bytes.Repeat([]byte("x"), 5000)); err != nil {
		t.Fatal(err)
	}
	p := &proc{out: []*os.File{r}}
	n := 0
	p.pumps.Go(func() { pump(r, logfile.Stdout, func(_ logfile.Stream, b []byte) { n += len(b) }) })
	p.drain()
	p.close()
	if n != 5000 {
		t.Errorf("%d bytes", n)
	}
}

func TestAdmit(t *testing.T) {
	for uid, want := range map[uint32]error{0: nil, uint32(os.Geteuid()): nil, 12345: fs.ErrPermission} {
		if err := admit(ipc.Peer{UID: uid}); !errors.Is(err, want) {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`{"id":"c1","dir":"/d","tenant":{}}`)
	f.Add(`{"id":"c1","dir":"d"}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := readConfig(strings.NewReader(s)); err == nil && (c.ID == "" || c.Dir[0] != '/') {
			t.Errorf("accepted %+v", c)
		}
	})
}
