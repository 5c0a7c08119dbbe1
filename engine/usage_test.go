package engine_test

import (
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// What a container uses is counted with what was exec'ed beside main, and with what
// has ended.
func TestIntegrationUsage(t *testing.T) {
	e := testEngine(t)
	importRoot(t, e, "root")
	ctx := t.Context()
	if _, err := e.CreateContainer(ctx, api.ContainerSpec{Name: "u", Image: "root", Command: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ContainerUsage(ctx, "u"); err == nil {
		t.Error("usage of what does not run")
	}
	if err := e.StartContainer(ctx, "u", api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	idle, err := e.ContainerUsage(ctx, "u")
	if err != nil || idle.Processes != 1 || idle.Threads != 1 || idle.Memory < 1<<12 && idle.Rates == nil || idle.Memory > 1<<30 {
		t.Errorf("idle: %+v, %v", idle, err)
	}
	for what, why := range idle.Missing {
		t.Logf("%s is not known here: %s", what, why)
	}
	beside := make(chan error, 1)
	go func() {
		_, err := e.ExecContainer(ctx, "u", api.ExecOptions{Args: []string{"sleep", "1000"}})
		beside <- err
	}()
	until(t, "the exec'ed process to be counted", func() bool {
		now, err := e.ContainerUsage(ctx, "u")
		return err == nil && now.Processes == 2
	})
	const work = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; yes | head -c 3000000 >/written; sync /written 2>/dev/null || sync"
	if exit, err := e.ExecContainer(ctx, "u", api.ExecOptions{Args: []string{"sh", "-c", work}}); err != nil || exit.Code != 0 {
		t.Fatalf("%+v, %v", exit, err)
	}
	busy, err := e.ContainerUsage(ctx, "u")
	switch {
	case err != nil:
		t.Error(err)
	case busy.Rates != nil: // whole seconds, and averages of the last one
		t.Logf("the kernel's averages: %+v", *busy.Rates)
	case busy.CPUTime < idle.CPUTime+0.01 || busy.Processes != 2:
		t.Errorf("was %+v, is %+v", idle, busy)
	case busy.Missing["io"] == "" && busy.Written < idle.Written+3000000:
		t.Errorf("written: was %+v, is %+v", idle, busy)
	}
	now := 0
	if err := e.StopContainer(ctx, "u", api.StopOptions{Timeout: &now}); err != nil {
		t.Fatal(err)
	}
	if err := <-beside; err != nil && !strings.Contains(err.Error(), "ended") {
		t.Error(err)
	}
}
