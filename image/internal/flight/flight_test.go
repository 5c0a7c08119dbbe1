package flight_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/joyboyid/xc/image/internal/flight"
)

func TestJoinersShareWorkAndEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, int]
		var runs atomic.Int32
		step := make(chan int)
		work := func(_ context.Context, emit func(int)) error {
			runs.Add(1)
			for n := range step {
				emit(n)
			}
			return errors.New("the result")
		}
		var mu sync.Mutex
		seen := make([][]int, 3)
		var group sync.WaitGroup
		start := func(i int) {
			group.Go(func() {
				err := g.Do(t.Context(), "k", func(n int) {
					mu.Lock()
					defer mu.Unlock()
					seen[i] = append(seen[i], n)
				}, work)
				if err == nil || err.Error() != "the result" {
					t.Errorf("%d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		start(0)
		start(1)
		step <- 1
		step <- 2
		synctest.Wait()
		start(2) // late: begins with the newest event
		step <- 3
		close(step)
		group.Wait()
		if runs.Load() != 1 {
			t.Errorf("%d runs", runs.Load())
		}
		for i, want := range []int{3, 3, 2} {
			if len(seen[i]) != want {
				t.Errorf("%d saw %v", i, seen[i])
			}
		}
		if err := g.Do(t.Context(), "k", nil, func(context.Context, func(int)) error { return nil }); err != nil {
			t.Errorf("what is over is not joined: %v", err)
		}
	})
}

func TestWorkOutlivesItsStarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, int]
		finish := make(chan struct{})
		work := func(ctx context.Context, _ func(int)) error {
			select {
			case <-finish:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		first, giveUp := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { results <- g.Do(first, "k", nil, work) }()
		synctest.Wait()
		go func() { results <- g.Do(t.Context(), "k", nil, work) }()
		synctest.Wait()
		giveUp()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("starter: %v", err)
		}
		close(finish)
		if err := <-results; err != nil {
			t.Errorf("joiner: %v", err)
		}
	})
}

func TestLastToLeaveCancelsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, int]
		cleanup, ended := make(chan struct{}), false
		ctx, giveUp := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			result <- g.Do(ctx, "k", nil, func(ctx context.Context, _ func(int)) error {
				<-ctx.Done()
				<-cleanup
				ended = true
				return ctx.Err()
			})
		}()
		synctest.Wait()
		giveUp()
		synctest.Wait()
		// One who comes now must neither join what is ending nor run beside it.
		second := make(chan error)
		go func() {
			second <- g.Do(t.Context(), "k", nil, func(context.Context, func(int)) error {
				if !ended {
					return errors.New("ran beside the one that was ending")
				}
				return nil
			})
		}()
		synctest.Wait()
		close(cleanup)
		if err := <-result; !errors.Is(err, context.Canceled) || !ended {
			t.Errorf("%v, ended %v", err, ended)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

func TestDeadContextStartsNothing(t *testing.T) {
	var g flight.Group[int, int]
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	err := g.Do(ctx, 1, nil, func(context.Context, func(int)) error { t.Error("ran"); return nil })
	if !errors.Is(err, cause) {
		t.Error(err)
	}
}
