package cli

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const waitLong = `Without --condition: until they have ended, and for the first start of those that
never ran. not-running (exited, stopped): until they do not run, those that never
did included, whose code is 0. next-exit: until the next end, also of those that do
not run now. removed: until they are removed.`

func waitCommand(a *App, f *pflag.FlagSet) action {
	condition := word{"", []string{api.WaitNotRunning, api.WaitNextExit, api.WaitRemoved, "exited", "stopped"}}
	f.Var(&condition, "condition", "what to wait for")
	return func(ctx context.Context, _ api.Engine, args []string) error {
		opt := api.WaitOptions{Condition: condition.value, Since: time.Now()}
		if opt.Condition == "exited" || opt.Condition == "stopped" { // podman's words
			opt.Condition = api.WaitNotRunning
		}
		// All at once: the next end of the second may come before that of the first.
		answers := map[string]<-chan outcome{}
		for _, name := range args {
			answers[name] = a.waitFor(ctx, name, opt)
		}
		return eachArg(a.Stdout, args, func(name string) (string, error) {
			o, ok := <-answers[name]
			if !ok {
				return "", nil // named twice
			}
			return strconv.Itoa(o.exit.Code), o.err
		})
	}
}

// waitFor waits, of one daemon after the other if need be, for the container
// that has this name now.
func (a *App) waitFor(ctx context.Context, name string, opt api.WaitOptions) <-chan outcome {
	answer := make(chan outcome, 1)
	go func() {
		defer close(answer)
		var o outcome
		var found api.Container
		o.err = a.session.insist(ctx, func(e api.Engine) (err error) {
			if found.ID == "" {
				if found, err = e.InspectContainer(ctx, name); err == nil {
					name = found.ID
				} else if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			o.exit, err = e.WaitContainer(ctx, name, opt)
			if errors.Is(err, fs.ErrNotExist) && found.ID != "" {
				// It was removed between two daemons, or since it was found.
				if exit, ok := lastExit(ctx, e, found.ID); ok || opt.Condition == api.WaitRemoved {
					o.exit, err = exit, nil
				}
			}
			return err
		})
		answer <- o
	}()
	return answer
}

// lastExit looks among the events for the end of the last run of a container.
func lastExit(ctx context.Context, e api.Engine, id string) (exit api.Exit, ok bool) {
	for ev, err := range e.Events(ctx, api.EventOptions{Filters: []string{"container=" + id, "action=" + api.EventExit, "action=" + api.EventLost}}) {
		if err == nil && ev.Exit != nil {
			exit, ok = *ev.Exit, true
		}
	}
	return exit, ok
}
