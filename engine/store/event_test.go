package store_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/store"
)

func event(name string, at int) store.Event {
	return store.Event{At: time.Unix(int64(at), 0), Data: json.RawMessage(strconv.Quote(name))}
}

// events are those after an id, as ID:DATA.
func events(t *testing.T, s *store.Store, after int64) string {
	t.Helper()
	list, err := s.Events(t.Context(), after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range list {
		words = append(words, strconv.FormatInt(e.ID, 10)+":"+strings.Trim(string(e.Data), `"`))
	}
	return strings.Join(words, " ")
}

// An event is there exactly when the change is that it tells of.
func TestEventsAreOfTheirChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	s := open(t, path)
	ctx := t.Context()
	_, newer := s.LastEvent()
	for _, name := range []string{"web", "db"} {
		if err := s.CreateContainer(ctx, container("c"+name, name, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		what string
		do   func() error
		want error
	}{
		{"update", func() error { return s.UpdateContainer(ctx, "cweb", nil, false, event("start", 1), event("exit", 2)) }, nil},
		{"update of none", func() error { return s.UpdateContainer(ctx, "cno", nil, true, event("no", 3)) }, fs.ErrNotExist},
		{"rename to what is taken", func() error { return s.RenameContainer(ctx, "cweb", "db", event("no", 3)) }, fs.ErrExist},
		{"rename", func() error { return s.RenameContainer(ctx, "cweb", "www", event("rename", 4)) }, nil},
		{"remove", func() error { return s.RemoveContainer(ctx, "cweb", event("remove", 5)) }, nil},
		{"remove again", func() error { return s.RemoveContainer(ctx, "cweb", event("no", 6)) }, nil},
		{"by itself", func() error { return s.AppendEvents(ctx, event("kill", 7)) }, nil},
	} {
		if err := tc.do(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, err, tc.want)
		}
	}
	const want = "1:start 2:exit 3:rename 4:remove 5:kill"
	if got := events(t, s, 0); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := events(t, s, 3); got != "4:remove 5:kill" {
		t.Errorf("after 3: %s", got)
	}
	select {
	case <-newer:
	default:
		t.Error("nobody was told")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if id, _ := s.LastEvent(); id != 5 {
		t.Errorf("the last one is %d after another Open", id)
	}
	if got := events(t, s, 0); got != want {
		t.Errorf("after another Open: %s", got)
	}
}

// The oldest go, by number and by age; the newest stays, so that its id is not
// given again.
func TestEventsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	s := open(t, path)
	ctx := t.Context()
	if err := s.LimitEvents(ctx, store.EventLimits{Max: 100}); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if err := s.AppendEvents(ctx, event("e", i)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Events(ctx, 0, 10_000)
	if err != nil || len(list) < 100 || len(list) >= 100+256 || list[len(list)-1].ID != 2000 || list[0].ID != 2001-int64(len(list)) {
		t.Errorf("%d events, %v", len(list), err)
	}
	if err := s.LimitEvents(ctx, store.EventLimits{Max: 7}); err != nil {
		t.Fatal(err)
	}
	if got := events(t, s, 0); got != "1994:e 1995:e 1996:e 1997:e 1998:e 1999:e 2000:e" {
		t.Errorf("got %s", got)
	}
	now := time.Now()
	if err := s.AppendEvents(ctx, store.Event{At: now.Add(-time.Hour)}, store.Event{At: now}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		age  time.Duration
		want string
	}{{2 * time.Hour, "2001:{} 2002:{}"}, {time.Minute, "2002:{}"}, {time.Nanosecond, "2002:{}"}} {
		if err := s.LimitEvents(ctx, store.EventLimits{Age: tc.age}); err != nil {
			t.Fatal(err)
		}
		if got := events(t, s, 0); got != tc.want {
			t.Errorf("younger than %v: %s, want %s", tc.age, got, tc.want)
		}
	}
}

func BenchmarkUpdateContainerWithEvent(b *testing.B) {
	s := fresh(b)
	c := container("c4f7kq2mznpa", "web", 1)
	if err := s.CreateContainer(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{0, 1} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			list := make([]store.Event, n)
			for i := range list {
				list[i] = event(strings.Repeat("x", 300), 1)
			}
			for i := 0; b.Loop(); i++ {
				if err := s.UpdateContainer(b.Context(), c.ID, json.RawMessage(strconv.Itoa(i)), false, list...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
