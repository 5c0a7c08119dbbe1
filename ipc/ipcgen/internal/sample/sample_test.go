package sample

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/ipc/internal/leak"
	"github.com/joyboyid/xc/ipc/ipcgen/internal/older"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// connect returns a client of the handler.
func connect(t *testing.T, h ipc.Handler) *ipc.Client {
	t.Helper()
	mine, its, err := ipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- (&ipc.Server{Handler: h}).ServeConn(context.Background(), its) }()
	c := ipc.NewClient(mine, ipc.Limits{})
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return c
}

// both runs a test on the implementation and on its client: they do the same.
func both(t *testing.T, test func(t *testing.T, s Shop)) {
	t.Run("in process", func(t *testing.T) { test(t, Counter{}) })
	t.Run("over ipc", func(t *testing.T) { test(t, ShopClient{connect(t, ShopHandler(Counter{}))}) })
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() }) // some are closed already
	return r, w
}

func drain(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestPlain(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		ctx := t.Context()
		if err := s.Nothing(ctx); err != nil {
			t.Error(err)
		}
		if at, err := s.Now(ctx); err != nil || !at.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)) {
			t.Errorf("%v, %v", at, err)
		}
		for _, more := range [][]int{nil, {2}, {2, 3}} {
			if n, err := s.Add(ctx, 1, more...); err != nil || n != []int{1, 3, 6}[len(more)] {
				t.Errorf("Add %v: %d, %v", more, n, err)
			}
		}
		out, sizes, n, err := s.Many(ctx, "a", []netip.Addr{netip.MustParseAddr("fd00::1")}, map[string]Size{"a": 3})
		if err != nil || out != "afd00::1" || !slices.Equal(sizes, []Size{3, 0}) || n == nil || *n != 1 {
			t.Errorf("%q, %v, %v, %v", out, sizes, n, err)
		}
	})
}

func TestErrors(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		if err := s.Fail(t.Context(), "full"); !errors.Is(err, Full{"a"}) || err.Error() != "shelf a is full" {
			t.Error(err)
		}
		if err := s.Fail(t.Context(), "path"); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, syscall.ENOENT) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if err := s.Fail(ctx, "wait"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestFiles(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		from, fill := pipe(t)
		if _, err := fill.WriteString("goods"); err != nil {
			t.Fatal(err)
		}
		_ = fill.Close()
		a, toA := pipe(t)
		b, toB := pipe(t)
		log, n, err := s.Copy(t.Context(), from, []*os.File{toA, nil, toB})
		if err != nil || n != 5 {
			t.Fatalf("%d, %v", n, err)
		}
		if err := errors.Join(toA.Close(), toB.Close()); err != nil {
			t.Errorf("they are not the caller's any more: %v", err)
		}
		// Nobody else holds the ends for writing, or this would not end.
		if got := drain(t, a) + drain(t, b) + drain(t, log); got != "goodsgoods2 files\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestStructsWithFiles(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		var r []*os.File
		next := func() *os.File {
			a, b := pipe(t)
			r = append(r, a)
			return b
		}
		c := Command{
			Stdio: Stdio{Out: next(), Err: next()},
			Args:  []string{"x", "y"}, Limit: time.Second,
			More:  []*os.File{next(), nil},
			Extra: []Named{{"e", next()}, {"f", nil}},
			Log:   &Named{"l", next()},
		}
		o, err := s.Run(t.Context(), c)
		if err != nil || o.Code != 5 || o.Text != "true 1s 0" {
			t.Fatalf("%+v, %v", o, err)
		}
		var got strings.Builder
		for i, w := range []*os.File{c.Out, c.Err, c.More[0], c.Extra[0].File, c.Log.File} {
			_ = w.Close()
			got.WriteString(drain(t, r[i]))
		}
		if want := "0 [x y]\n1 [x y]\n2 [x y]\n4 [x y]\n6 [x y]\n"; got.String() != want {
			t.Errorf("%q", got.String())
		}
		if core := drain(t, o.Core); core != "core" {
			t.Errorf("core %q", core)
		}
		if o, err = s.Run(t.Context(), Command{}); err != nil || o.Code != 0 {
			t.Errorf("the zero command: %+v, %v", o, err)
		}
		_ = o.Core.Close()
	})
}

func TestStreams(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		ctx, sum := t.Context(), 0
		last, err := s.Count(ctx, 1000, func(n int) error { sum += n; return nil })
		if err != nil || last != 1000 || sum != 499500 {
			t.Errorf("%d, %d, %v", last, sum, err)
		}
		stop := errors.New("stop")
		if _, err := s.Count(ctx, 1000, func(int) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
		var got []string
		err = s.Files(ctx, []string{"a", "b"}, func(n Named) error {
			b, err := io.ReadAll(n.File)
			got = append(got, n.Name+string(b))
			return err
		})
		if err != nil || !slices.Equal(got, []string{"aa", "bb"}) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestIterator(t *testing.T) {
	leak.Check(t)
	both(t, func(t *testing.T, s Shop) {
		for _, n := range []int{5, -5, 0} {
			var got []int
			var end error
			for i, err := range s.Each(t.Context(), n) {
				if err != nil {
					end = err
					break
				}
				got = append(got, i)
			}
			if len(got) != max(n, -n) || errors.Is(end, Full{"z"}) != (n < 0) {
				t.Errorf("%d: %v, %v", n, got, end)
			}
		}
		for i, err := range s.Each(t.Context(), 1<<40) {
			if err != nil || i == 3 {
				break
			}
		}
		if err := s.Nothing(t.Context()); err != nil { // after an iterator that was left
			t.Error(err)
		}
	})
}

// The JSON is what a foreign client would write: files by their place.
func TestShape(t *testing.T) {
	leak.Check(t)
	got := make(chan string, 1)
	c := connect(t, func(_ context.Context, r *ipc.Request) (any, []*os.File, error) {
		got <- string(r.Params)
		return map[string]any{"result": map[string]any{"code": 1, "core": nil, "new": true}}, nil, nil
	})
	_, w := pipe(t)
	o, err := ShopClient{c}.Run(t.Context(), Command{Args: []string{"a"}, Stdio: Stdio{Out: w}, More: []*os.File{w, nil}})
	if err != nil || !reflect.DeepEqual(o, Outcome{Code: 1}) {
		t.Errorf("%+v, %v", o, err)
	}
	if s, want := <-got, `{"command":{"args":["a"],"out":0,"more":[1,null]}}`; s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

// Bad places and files that nobody expects are closed, not passed on.
func TestBadPlaces(t *testing.T) {
	leak.Check(t)
	c := connect(t, ShopHandler(Counter{}))
	_, w := pipe(t)
	for _, params := range []string{
		`{"from":1,"to":[]}`, `{"from":0,"to":[7]}`, `{"from":-1}`, `{"from":"0"}`, `{"from":0,"to":[0],"more":1}`,
	} {
		_, err := c.Call(t.Context(), MethodOrdersCopy, json.RawMessage(params), []*os.File{w}, nil)
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", params, err)
		}
	}
}

// A client of an older interface works with the newer server, and a newer one
// learns what the older server does not have.
func TestVersions(t *testing.T) {
	leak.Check(t)
	old := older.ShopClient{C: connect(t, ShopHandler(Counter{}))}
	if n, err := old.Add(t.Context(), 4); err != nil || n != 4 {
		t.Errorf("%d, %v", n, err)
	}
	r, w := pipe(t)
	o, err := old.Run(t.Context(), older.Command{Args: []string{"x"}, Out: w})
	_ = w.Close()
	if got := drain(t, r); err != nil || o.Code != 1 || got != "0 [x]\n" {
		t.Errorf("%+v, %q, %v", o, got, err)
	}
	if err := old.Gone(t.Context()); !errors.Is(err, errors.ErrUnsupported) || ipc.CodeOf(err) != ipc.CodeNoMethod {
		t.Error(err)
	}
	newer := ShopClient{connect(t, older.ShopHandler(old))}
	if err := newer.Nothing(t.Context()); ipc.CodeOf(err) != ipc.CodeNoMethod {
		t.Error(err)
	}
	if _, err := newer.Run(t.Context(), Command{Limit: 1}); ipc.CodeOf(err) != ipc.CodeNoField {
		t.Errorf("a field that the server does not know is ignored: %v", err)
	}
}
