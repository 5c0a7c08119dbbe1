package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func execCommand() command {
	return command{
		use: "exec [FLAGS] CONTAINER COMMAND [ARG...]", short: "Run a command in a running container",
		args: cobra.MinimumNArgs(2), verbatim: true,
		complete: completer{names: containerNames(api.StateRunning), files: true},
		setup: func(a *App, f *pflag.FlagSet) action {
			var opt api.ExecOptions
			interactive := f.BoolP("interactive", "i", false, "connect standard input")
			f.BoolVarP(&opt.Terminal, "tty", "t", false, "give the command a terminal")
			f.BoolVarP(&opt.Detach, "detach", "d", false, "leave the command to itself once it runs; what it writes is lost")
			env := f.StringArrayP("env", "e", nil, "set a variable: KEY=VALUE, or KEY for its value here")
			envFile := f.StringArray("env-file", nil, "read variables from a file, one to a line")
			f.StringVarP(&opt.WorkDir, "workdir", "w", "", "working directory in the container")
			f.StringVarP(&opt.User, "user", "u", "", "run as NAME|UID[:GROUP|GID]")
			return func(ctx context.Context, e api.Engine, args []string) (err error) {
				if opt.Detach && *interactive {
					return errors.New("--interactive: nobody types where a command is detached: leave out -i, or -d")
				}
				opt.Args = args[1:]
				if opt.Env, err = environment(*envFile, *env); err != nil {
					return err
				}
				return failure(a.exec(ctx, e, args[0], opt, *interactive))
			}
		},
	}
}

// exec runs a command and returns how it ended. The command goes with this
// program's connection, so there are no keys to leave it behind.
func (a *App) exec(ctx context.Context, e api.Engine, name string, opt api.ExecOptions, interactive bool) error {
	opt.ID = rand.Text()
	if opt.Detach {
		_, err := e.ExecContainer(ctx, name, opt)
		return a.explainExec(ctx, err, "whether the command runs")
	}
	s, err := a.connect(interactive, opt.Terminal, nil)
	if err != nil {
		return err
	}
	defer s.close()
	s.mortal = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(); err != nil {
		return err
	}
	opt.Stdio, opt.Size = s.theirs, s.tell()
	answer := make(chan outcome, 1)
	go func() {
		var o outcome
		o.exit, o.err = e.ExecContainer(ctx, name, opt)
		o.err = a.explainExec(ctx, o.err, "how the command ends")
		answer <- o
	}()
	s.relay(func(size api.Size) error { return a.resize(ctx, name, opt.ID, size) })
	return s.until(answer)
}

// explainExec says what is not known of a command when the daemon was lost.
func (a *App) explainExec(ctx context.Context, err error, what string) error {
	if a.session.lost(ctx, err) {
		return fmt.Errorf("xcd has gone, so %s is not known: %w", what, err)
	}
	return err
}

func attachCommand() command {
	return command{
		use: "attach [FLAGS] CONTAINER", short: "Connect to a running container until it ends",
		long: `With a terminal, the recent output (up to 64 KiB) is shown first; without one,
only with --replay. xc logs has all that came before. Signals are forwarded. With a
terminal, the detach keys leave it running. Standard input is connected where the
container reads it (-i or -t of xc run) and --no-stdin does not say otherwise.`,
		args: cobra.ExactArgs(1), complete: completer{names: containerNames(api.StateRunning)},
		setup: func(a *App, f *pflag.FlagSet) action {
			keys := detachFlag(f)
			noStdin := f.Bool("no-stdin", false, "do not connect standard input")
			proxy := f.Bool("sig-proxy", true, "forward signals to the container")
			replay := f.Bool("replay", false, "begin with the recent output")
			noReplay := f.Bool("no-replay", false, "begin with what comes from now on")
			return func(ctx context.Context, e api.Engine, args []string) error {
				if *replay && *noReplay {
					return errors.New("--replay and --no-replay: choose one")
				}
				c, err := e.InspectContainer(ctx, args[0])
				if err == nil && c.State != api.StateRunning {
					err = fmt.Errorf("container %s does not run: start it first", args[0])
				}
				if err != nil {
					return failure(err)
				}
				begin := *replay || c.Terminal && !*noReplay
				return failure(a.attach(ctx, c, !*noStdin, *proxy, begin, keys.keys))
			}
		},
	}
}

func (a *App) attach(ctx context.Context, c api.Container, interactive, proxy, replay bool, keys []byte) error {
	switch {
	case c.Terminal:
		interactive = interactive && isTerminal(a.Stdin)
	case !c.OpenStdin: // it reads nothing, and shows what it writes
		interactive = false
	}
	s, err := a.connect(interactive, c.Terminal, keys)
	if err != nil {
		return err
	}
	defer s.close()
	s.mortal = !proxy
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wait := a.wait(ctx, c.ID)
	if err := s.begin(); err != nil {
		return err
	}
	var giveUp <-chan struct{}
	if proxy {
		started := make(chan struct{})
		close(started)
		f, stop := a.forward(ctx, func() string { return c.ID }, started, started)
		defer stop()
		giveUp = f.giveUp
	}
	answer := make(chan outcome, 1)
	s.tell()
	go func() { answer <- a.follow(ctx, c, s, replay, wait, giveUp) }()
	s.relay(func(size api.Size) error { return a.resize(ctx, c.ID, "", size) })
	return s.until(answer)
}

// follow attaches the streams, again after a loss of the daemon, and returns
// how the container ended.
func (a *App) follow(ctx context.Context, c api.Container, s *streams, replay bool, wait <-chan outcome, giveUp <-chan struct{}) outcome {
	attached := make(chan error, 1)
	go func() {
		attached <- a.session.insist(ctx, func(e api.Engine) error {
			err := e.AttachContainer(ctx, c.ID, api.AttachOptions{Stdio: s.theirs, Size: s.size(), Replay: replay})
			replay = false // not twice
			if err == nil || a.session.lost(ctx, err) {
				return err
			}
			if now, lookErr := e.InspectContainer(ctx, c.ID); lookErr != nil || now.State != api.StateRunning {
				return nil // it has ended: the other answer says how
			}
			return err
		})
	}()
	select {
	case err := <-attached:
		if err != nil {
			return outcome{err: err}
		}
		return patient(wait, giveUp)
	case o := <-wait:
		// The last output comes with the end of the attachment.
		select {
		case err := <-attached:
			o.err = errors.Join(o.err, err)
		case <-giveUp:
		}
		return o
	case <-giveUp:
		return outcome{err: errGivenUp}
	}
}

var errGivenUp = errors.New("xcd does not answer, so the signals could not be delivered; the container goes on")

// patient waits for the answer, unless signals make it give up.
func patient(wait <-chan outcome, giveUp <-chan struct{}) outcome {
	select {
	case o := <-wait:
		return o
	case <-giveUp:
		return outcome{err: errGivenUp}
	}
}
