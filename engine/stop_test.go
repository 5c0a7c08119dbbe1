package engine_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine/api"
)

// gate holds up the clean-up of a run at its first undo.
type gate struct {
	once    sync.Once
	reached chan struct{} // closed there
	open    chan struct{} // to be closed: it goes on
}

func (g *gate) trace(point string) {
	if !strings.HasPrefix(point, "run undo ") {
		return
	}
	g.once.Do(func() {
		close(g.reached)
		select {
		case <-g.open:
		case <-time.After(2 * time.Minute): // the test has failed
		}
	})
}

// The end of a container is told when its processes are gone: its networks are taken
// down after that, in the background. Who has asked for the stop is answered last, when
// what the run had is free for others.
func TestIntegrationEndIsToldBeforeCleanUp(t *testing.T) {
	needRoot(t)
	g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
	e := openEngine(t, shortTempDir(t), g.trace)
	t.Cleanup(func() { closeClean(t, e) })
	importRoot(t, e, "root")
	createNetwork(t, e, twoFamilies("web", "1"))
	defer removeNetworks(t, e)
	has := sleeper(t, e, "a", api.Attachment{Network: "web"}).Networks[0].Addrs[0].Addr()
	create := func(name string) error {
		_, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: name, Image: "root", Command: []string{"true"},
			Networks: []api.Attachment{{Network: "web", Addrs: []netip.Addr{has}}}})
		return err
	}
	waited, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := e.WaitContainer(t.Context(), "a", api.WaitOptions{})
		waited <- err
	}()
	go func() {
		now := 0
		stopped <- e.StopContainer(t.Context(), "a", api.StopOptions{Timeout: &now})
	}()
	answer := func(what string, c <-chan error) {
		t.Helper()
		select {
		case err := <-c:
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: no answer", what)
		}
	}
	answer("wait", waited)
	select {
	case <-g.reached:
	case <-time.After(time.Minute):
		t.Error("nothing is undone")
	}
	if c, err := e.InspectContainer(t.Context(), "a"); err != nil || c.State != api.StateExited {
		t.Errorf("while the clean-up is held up: %s, %v", c.State, err)
	}
	if err := create("early"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("its address, while the clean-up is held up: %v", err)
	}
	select {
	case err := <-stopped:
		t.Errorf("stop has answered while all is still there: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(g.open)
	answer("stop", stopped)
	if err := create("late"); err != nil {
		t.Errorf("its address, after the stop: %v", err)
	}
}
