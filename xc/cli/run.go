package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const specLong = `The first argument is an image, which is pulled when it is not here (--pull),
the others replace the image's command. With --rootfs DIRECTORY there is no
image and all arguments are the command.`

// runCommands make containers and connect to them.
func runCommands() []command {
	images := completer{names: imageNames, files: true}
	values := map[string]names{"network": allNetworkNames, "main-address": networkNames}
	return []command{
		{
			use: "run [FLAGS] IMAGE [COMMAND [ARG...]]", short: "Make a container and run it", long: specLong,
			args: cobra.ArbitraryArgs, complete: images, values: values, verbatim: true,
			setup: func(a *App, f *pflag.FlagSet) action {
				s := bindSpec(f)
				detach := f.BoolP("detach", "d", false, "run in the background and print the id")
				keys := detachFlag(f)
				return func(ctx context.Context, e api.Engine, args []string) error {
					return failure(a.run(ctx, e, s, args, *detach, keys.keys))
				}
			},
		},
		{
			use: "create [FLAGS] IMAGE [COMMAND [ARG...]]", short: "Make a container and do not start it", long: specLong,
			args: cobra.ArbitraryArgs, complete: images, values: values, verbatim: true,
			setup: func(a *App, f *pflag.FlagSet) action {
				s := bindSpec(f)
				return func(ctx context.Context, e api.Engine, args []string) error {
					c, err := a.create(ctx, e, s, args)
					if err == nil {
						fmt.Fprintln(a.Stdout, c.ID)
					}
					return failure(err)
				}
			},
		},
		execCommand(),
		attachCommand(),
	}
}

// specFlags are the flags of run and create.
type specFlags struct {
	spec            api.ContainerSpec
	entrypoint      string
	env, envFile    []string
	volumes, labels []string
	network         networkFlags
	mounts, tmpfs   []string
	publish         []string
	stopTimeout     int
	init, deinit    []string
	deinitTimeout   int
	pull, wait      word
	limits          *limitFlags
	flags           *pflag.FlagSet
}

func bindSpec(f *pflag.FlagSet) *specFlags {
	s := &specFlags{
		flags: f,
		pull:  word{"missing", []string{"missing", "always", "never"}},
		wait:  word{"tree", []string{"tree", "main"}},
	}
	f.BoolVarP(&s.spec.OpenStdin, "interactive", "i", false, "connect standard input")
	f.BoolVarP(&s.spec.Terminal, "tty", "t", false, "give the container a terminal")
	f.BoolVar(&s.spec.AutoRemove, "rm", false, "remove the container when it has ended")
	f.StringVar(&s.spec.Name, "name", "", "name of the container (made up when missing)")
	f.VarP((*repeated)(&s.env), "env", "e", "set a variable: KEY=VALUE, or KEY for its value here")
	f.Var((*repeated)(&s.envFile), "env-file", "read variables from a file, one to a line")
	f.StringVarP(&s.spec.WorkDir, "workdir", "w", "", "working directory in the container")
	f.StringVarP(&s.spec.User, "user", "u", "", "run as NAME|UID[:GROUP|GID]")
	f.StringVar(&s.entrypoint, "entrypoint", "", "replace the image's entry point: a program, or a JSON array; empty for none")
	f.VarP((*repeated)(&s.volumes), "volume", "v", "mount a volume, or a file or directory: [NAME|PATH:]DESTINATION[:ro,nosuid,noexec]")
	f.Var((*repeated)(&s.mounts), "mount", "type=volume|bind|tmpfs|nullfs|zfs,source=...,target=...[,readonly,nosuid,noexec,subpath=...]")
	f.Var((*repeated)(&s.tmpfs), "tmpfs", "mount a file system in memory: DESTINATION[:size=64m,mode=1777,...]")
	f.StringVar(&s.spec.Hostname, "hostname", "", "host name in the container (its id when missing)")
	f.BoolVar(&s.spec.ReadOnly, "read-only", false, "mount the root read-only")
	s.network.bind(f, &s.spec)
	s.bindPorts(f)
	f.StringVar(&s.spec.Rootfs, "rootfs", "", "use this directory as root, as it is, instead of an image")
	f.StringVar(&s.spec.Platform, "platform", "", "os/arch[/variant] of the image")
	f.VarP((*repeated)(&s.spec.Params), "option", "o", "FreeBSD: a parameter of the jail, NAME=VALUE or NAME: see jail(8)")
	f.Var((*repeated)(&s.spec.Datasets), "dataset", "FreeBSD: let the container administer a ZFS dataset")
	f.Var(&s.pull, "pull", "when to pull the image")
	f.Var(&s.wait, "wait", "a container ends with main and all its descendants (tree), or with main")
	f.VarP((*repeated)(&s.labels), "label", "l", "attach KEY=VALUE to the container")
	f.StringVar(&s.spec.StopSignal, "stop-signal", "", "signal that asks main to end (the image's, or TERM)")
	s.limits = bindLimits(f)
	f.Var((*repeated)(&s.init), "init-command", "run this before main, for the shell or as a JSON array; empty for none of the image's")
	f.Var((*repeated)(&s.deinit), "deinit-command", "run this when main and all its descendants are gone")
	f.IntVar(&s.deinitTimeout, "deinit-timeout", 10, "seconds after which deinit commands are killed")
	f.IntVar(&s.stopTimeout, "stop-timeout", 10, "seconds after the stop signal until the container is killed")
	return s
}

// build makes the spec of flags and arguments. What it opens is closed by the
// function it returns.
func (s *specFlags) build(args []string) (spec api.ContainerSpec, closeAll func(), err error) {
	spec, closeAll = s.spec, func() {}
	if spec.Rootfs == "" {
		if len(args) == 0 {
			return spec, closeAll, errors.New("an image is missing")
		}
		spec.Image, args = args[0], args[1:]
	} else if err := s.withoutImage(); err != nil {
		return spec, closeAll, err
	}
	spec.Command = args
	spec.WaitMain = s.wait.value == "main"
	if s.flags.Changed("entrypoint") {
		if spec.Entrypoint, err = entrypoint(s.entrypoint); err != nil {
			return spec, closeAll, err
		}
	}
	if s.flags.Changed("stop-timeout") {
		spec.StopTimeout = &s.stopTimeout
	}
	if spec.InitCommands, err = commandLines("init-command", s.init); err != nil {
		return spec, closeAll, err
	}
	if spec.DeinitCommands, err = commandLines("deinit-command", s.deinit); err != nil {
		return spec, closeAll, err
	}
	if s.flags.Changed("deinit-timeout") {
		spec.DeinitTimeout = &s.deinitTimeout
	}
	if spec.Env, err = environment(s.envFile, s.env); err != nil {
		return spec, closeAll, err
	}
	if spec.Labels, err = labels(s.labels); err != nil {
		return spec, closeAll, err
	}
	if spec.Networks, err = s.network.attachments(); err != nil {
		return spec, closeAll, err
	}
	if err := s.network.lookups(&spec); err != nil {
		return spec, closeAll, err
	}
	if spec.Publish, err = parsePorts(s.publish); err != nil {
		return spec, closeAll, err
	}
	if spec.Limits, err = s.limits.limits(); err != nil {
		return spec, closeAll, err
	}
	spec.Mounts, closeAll, err = mounts(s.volumes, s.mounts, s.tmpfs)
	return spec, closeAll, err
}

func entrypoint(s string) (*[]string, error) {
	list := []string{}
	switch {
	case strings.HasPrefix(s, "["):
		if err := json.Unmarshal([]byte(s), &list); err != nil {
			return nil, fmt.Errorf("--entrypoint %s: %w", s, err)
		}
	case s != "":
		list = append(list, s)
	}
	return &list, nil
}

// commandLines reads the values of a flag: nil where it was not given, and none
// where it is empty.
func commandLines(flag string, values []string) (*[]api.Command, error) {
	if values == nil {
		return nil, nil
	}
	list := []api.Command{}
	for _, v := range values {
		if v == "" {
			continue
		}
		args, err := commandLine(v)
		if err == nil && len(args) == 0 {
			err = errors.New("it names no program")
		}
		if err != nil {
			return nil, fmt.Errorf("--%s %s: %w", flag, v, err)
		}
		list = append(list, api.Command{Args: args})
	}
	return &list, nil
}

// create makes a container, and pulls its image as --pull says.
func (a *App) create(ctx context.Context, e api.Engine, s *specFlags, args []string) (c api.Container, err error) {
	spec, closeAll, err := s.build(args)
	defer closeAll()
	if err != nil {
		return c, err
	}
	err = a.withImage(ctx, e, s, spec, func() (err error) {
		c, err = e.CreateContainer(ctx, spec)
		return err
	})
	return c, err
}

// withImage makes a container of a spec by make, and pulls its image before, or
// when it is missing, as --pull says.
func (a *App) withImage(ctx context.Context, e api.Engine, s *specFlags, spec api.ContainerSpec, make func() error) error {
	if spec.Image != "" && s.pull.value == "always" {
		if _, err := a.pull(ctx, e, spec.Image, spec.Platform); err != nil {
			return err
		}
	}
	err := make()
	if spec.Image == "" || s.pull.value != "missing" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Something is missing. It is the image, or one for this platform, when a
	// look at the images says so; else the error stands.
	img, lookErr := e.InspectImage(ctx, spec.Image)
	if lookErr == nil && (spec.Platform == "" || img.Platform == spec.Platform) || lookErr != nil && !errors.Is(lookErr, fs.ErrNotExist) {
		return err
	}
	if _, err := a.pull(ctx, e, spec.Image, spec.Platform); err != nil {
		return err
	}
	return make()
}

// run makes a container, starts it, and stays with it unless it is detached.
func (a *App) run(ctx context.Context, e api.Engine, s *specFlags, args []string, detach bool, keys []byte) error {
	if detach {
		c, err := a.create(ctx, e, s, args)
		if err != nil {
			return err
		}
		if err := e.StartContainer(ctx, c.ID, api.StartOptions{}); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout, c.ID)
		return nil
	}
	streams, err := a.connect(s.spec.OpenStdin, s.spec.Terminal, keys)
	if err != nil {
		return err
	}
	defer streams.close()
	spec, closeAll, err := s.build(args)
	defer closeAll()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan outcome, 1)
	go func() {
		var o outcome
		o.err = a.withImage(ctx, e, s, spec, func() (err error) {
			f := &foreground{app: a, streams: streams, created: make(chan struct{}), started: make(chan struct{})}
			o.exit, err = f.run(ctx, e, spec)
			return err
		})
		answer <- o
	}()
	return streams.until(answer)
}

// foreground is a container that is run with the streams of this program.
type foreground struct {
	app     *App
	streams *streams

	id        string        // once it is created
	created   chan struct{} // closed then
	started   chan struct{} // closed once it runs
	forwarder *forwarder    // of signals
}

// run makes the container, starts it and returns how it ended. Signals are kept
// from now on, and delivered once there is something that they can be for.
func (f *foreground) run(ctx context.Context, e api.Engine, spec api.ContainerSpec) (api.Exit, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stop func()
	f.forwarder, stop = f.app.forward(ctx, func() string { return f.id }, f.created, f.started)
	defer stop()
	go func() {
		select {
		case <-f.forwarder.giveUp: // while a daemon is waited for that does not answer
			cancel()
		case <-ctx.Done():
		}
	}()
	progress := func(p api.RunProgress) error { return f.progress(ctx, p) }
	opt := api.StartOptions{Stdio: f.streams.theirs, Size: f.streams.tell()}
	exit, err := e.RunContainer(ctx, spec, opt, progress)
	switch {
	case err != nil && f.givenUp():
		return exit, errGivenUp
	case err == nil || f.id == "":
		return exit, err
	case !f.app.session.lost(ctx, err):
		return exit, err
	}
	f.app.session.forget(e)
	return f.again(ctx, opt)
}

// progress follows the container.
func (f *foreground) progress(ctx context.Context, p api.RunProgress) error {
	if p.State == api.StateRunning {
		return f.begun(ctx)
	}
	f.id = p.ID
	close(f.created)
	return nil
}

// begun relays the streams from now on. Up to here the keys of the terminal make
// signals, which can end init commands.
func (f *foreground) begun(ctx context.Context) error {
	close(f.started)
	if err := f.streams.begin(); err != nil {
		return err
	}
	f.streams.given()
	f.streams.relay(func(size api.Size) error { return f.app.resize(ctx, f.id, "", size) })
	return nil
}

func (f *foreground) givenUp() bool {
	return closed(f.forwarder.giveUp)
}

// again asks the next daemon, as the one that was asked has gone.
func (f *foreground) again(ctx context.Context, opt api.StartOptions) (api.Exit, error) {
	select {
	case <-f.started:
	default:
		if err := f.app.start(ctx, f.id, opt); err != nil {
			return api.Exit{}, err
		}
		if err := f.begun(ctx); err != nil {
			return api.Exit{}, err
		}
	}
	o := patient(f.app.wait(ctx, f.id), f.forwarder.giveUp)
	return o.exit, o.err
}

// start starts a container unless that was done: a daemon that was lost may have
// been at it.
func (a *App) start(ctx context.Context, id string, opt api.StartOptions) error {
	return a.session.insist(ctx, func(e api.Engine) error {
		c, err := e.InspectContainer(ctx, id)
		if err == nil && c.State != api.StateCreated || errors.Is(err, fs.ErrNotExist) {
			return nil // it ran: how it ended is the answer to wait
		}
		if err != nil {
			return err
		}
		return e.StartContainer(ctx, id, opt)
	})
}

// outcome is the answer to wait.
type outcome struct {
	exit api.Exit
	err  error
}

// wait asks how a container ends, of one daemon after the other if need be.
func (a *App) wait(ctx context.Context, id string) <-chan outcome {
	answer := make(chan outcome, 1)
	go func() {
		var o outcome
		o.err = a.session.insist(ctx, func(e api.Engine) (err error) {
			o.exit, err = e.WaitContainer(ctx, id, api.WaitOptions{})
			return err
		})
		answer <- o
	}()
	return answer
}

// resize tells the size of the window.
func (a *App) resize(ctx context.Context, name, exec string, size api.Size) error {
	e, err := a.session.engine(ctx)
	if err != nil {
		return err
	}
	return e.ResizeContainer(ctx, name, exec, size)
}
