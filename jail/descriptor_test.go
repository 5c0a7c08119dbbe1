package jail

import "testing"

func TestEvent(t *testing.T) {
	for _, c := range []struct {
		fflags uint32
		data   int64
		want   Event
	}{
		{noteAttach, 71, Event{Attached: 71}}, {noteAttach, 0, Event{Attached: -1}}, {noteRemove, 0, Event{Removed: true}},
		{noteAttach | noteRemove, 71, Event{Attached: -1, Removed: true}}, {0, 0, Event{}},
	} {
		if got := event(c.fflags, c.data); got != c.want {
			t.Errorf("%#x %d: %+v, want %+v", c.fflags, c.data, got, c.want)
		}
	}
}
