package engine_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
)

// manyEnv is how many containers TestIntegrationMany has at once.
const manyEnv = "XC_TEST_MANY"

// TestIntegrationMany: hundreds of containers run at once, and what one of them
// takes is what it takes where it is the only one. The times are logged, not judged:
// those of an engine that has none, before and after, those of one that is full, and
// in turns, so that what else the machine does is in both alike.
func TestIntegrationMany(t *testing.T) {
	many := 15
	if text := os.Getenv(manyEnv); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(manyEnv, err)
		}
	}
	empty, full := testEngine(t), testEngine(t)
	importRoot(t, empty, "root")
	importRoot(t, full, "root")
	const sample = 10
	var before, alone, last lifeTimes
	for range sample {
		before.add(aLife(t, empty))
	}
	for i := range many {
		startMany(t, full, i)
	}
	list, err := full.ListContainers(t.Context(), api.ListOptions{})
	if err != nil || len(list) != many {
		t.Fatalf("%d of %d run: %v", len(list), many, err)
	}
	for range sample {
		alone.add(aLife(t, empty))
		last.add(aLife(t, full))
	}
	zero := 0
	for i := range many {
		if err := full.StopContainer(t.Context(), manyName(i), api.StopOptions{Timeout: &zero}); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d containers; median, best of %d lives", many, sample)
	before.log(t, "the only one, before")
	alone.log(t, "the only one, in turns with")
	last.log(t, "one more than many")
}

func manyName(i int) string { return fmt.Sprintf("many%d", i) }

// startMany starts a container that stays.
func startMany(t *testing.T, e *engine.Engine, i int) (took time.Duration) {
	t.Helper()
	spec := api.ContainerSpec{Name: manyName(i), Image: "root", Command: []string{"sleep", "100000"}}
	if _, err := e.CreateContainer(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := e.StartContainer(t.Context(), spec.Name, api.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

// lifeTimes are what lives took.
type lifeTimes struct{ start, stop, remove []time.Duration }

func (l *lifeTimes) add(start, stop, remove time.Duration) {
	l.start, l.stop, l.remove = append(l.start, start), append(l.stop, stop), append(l.remove, remove)
}

func (l *lifeTimes) log(t *testing.T, what string) {
	t.Helper()
	median := func(d []time.Duration) string {
		slices.Sort(d)
		return fmt.Sprintf("%v, %v", d[len(d)/2].Round(time.Microsecond), d[0].Round(time.Microsecond))
	}
	t.Logf("%-27s start %s; stop %s; remove %s", what, median(l.start), median(l.stop), median(l.remove))
}

// aLife is the life of one more container.
func aLife(t *testing.T, e *engine.Engine) (start, stop, remove time.Duration) {
	t.Helper()
	time.Sleep(100 * time.Millisecond) // until a run loop is ready
	start = startMany(t, e, -1)
	zero := 0
	begin := time.Now()
	if err := e.StopContainer(t.Context(), manyName(-1), api.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	stop = time.Since(begin)
	begin = time.Now()
	if err := e.RemoveContainer(t.Context(), manyName(-1), api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	return start, stop, time.Since(begin)
}
