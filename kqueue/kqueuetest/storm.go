package kqueuetest

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/joyboyid/xc/kqueue"
)

// number is the value of a variable, or what it is without.
func number(t testing.TB, variable string, without int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number of processes", variable, text)
	}
	return n
}

func forks(t testing.TB) int { return number(t, "XC_TEST_FORKS", 1000) }

func live(t testing.TB) int { return number(t, "XC_TEST_LIVE", 400) }

// Many short lives from several threads, without exec: the end is told once, and
// each life by its birth and its end, if any is.
func testStorm(t *testing.T, start Start) {
	const threads = 4
	each := forks(t) / threads
	begin := time.Now()
	r := Go(t, start, "threads", strconv.Itoa(threads), strconv.Itoa(each), "exit")
	r.wantExit(0)
	took := time.Since(begin)
	t.Logf("%d forks in %v; %s", threads*each, took.Round(time.Millisecond), r.told())
	want := threads*each + 1
	if forks, exits := r.Count(kqueue.Fork), r.Count(kqueue.Exit); len(r.Events()) > 0 && (forks != want || exits != want) {
		t.Errorf("%d births and %d ends are told of %d", forks, exits, want)
	}
}

// Many orphans are adopted and waited for while they come.
func testOrphanStorm(t *testing.T, start Start) {
	const threads = 2
	each := forks(t) / threads / 2
	r := Go(t, start, "threads", strconv.Itoa(threads), strconv.Itoa(each), "orphan")
	r.wantExit(0)
	t.Logf("%d orphans; %s", threads*each, r.told())
}

// Many processes that live at once are all members.
func testLive(t *testing.T, start Start) {
	const threads = 4
	each := live(t) / threads
	begin := time.Now()
	r := Go(t, start, "threads", strconv.Itoa(threads), strconv.Itoa(each), "hold")
	r.Exited()
	r.Members(threads * each)
	born := time.Now()
	r.Release()
	r.wantExit(0)
	t.Logf("%d processes listed after %v, gone %v later", threads*each, born.Sub(begin).Round(time.Millisecond), time.Since(born).Round(time.Millisecond))
}
