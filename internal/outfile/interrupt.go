package outfile

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Interruptible returns a context that ends with the first signal that is to end the
// program (SIGINT, SIGTERM, SIGHUP), so that there is a time to remove a file that is
// not finished; the next one does end it. A signal that was ignored when the program
// began, as by nohup(1), stays ignored.
func Interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	deadly := slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
	if len(deadly) == 0 { // which to NotifyContext means all there are
		return context.WithCancel(ctx)
	}
	ctx, stop := signal.NotifyContext(ctx, deadly...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
