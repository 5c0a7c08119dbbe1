package jail

import (
	"errors"
	"testing"
)

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

// A kernel without descriptors says so, and nothing worse happens.
func TestDescriptorProbe(t *testing.T) {
	d, err := ID(1).Open(false)
	if err == nil {
		t.Cleanup(func() { d.Close() })
		t.Skip("this kernel has descriptors of jails; what is here has not been verified on one")
	}
	w, werr := Watch(1)
	if werr == nil {
		w.Close()
		t.Skip("this kernel has events of jails; what is here has not been verified on one")
	}
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(werr, errors.ErrUnsupported) {
		t.Errorf("open: %v; watch: %v", err, werr)
	}
}
