package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func containerCommands() []command {
	some := cobra.MinimumNArgs(1)
	all := completer{names: containerNames(), many: true}
	running := completer{names: containerNames(api.StateRunning), many: true}
	stopped := completer{names: containerNames(api.StateCreated, api.StateExited), many: true}
	return []command{
		{use: "start CONTAINER...", short: "Start containers", args: some, complete: stopped, setup: startCommand},
		{use: "stop [FLAGS] CONTAINER...", short: "Ask containers to end, then kill them", args: some, complete: running, setup: stopCommand},
		{use: "restart [FLAGS] CONTAINER...", short: "Stop containers and start them again", args: some, complete: all, setup: restartCommand},
		{use: "rename CONTAINER NAME", short: "Give a container another name", args: cobra.ExactArgs(2), complete: completer{names: containerNames()}, setup: renameCommand},
		{use: "kill [FLAGS] CONTAINER...", short: "Send a signal to main", args: some, complete: running, setup: killCommand},
		{use: "rm [FLAGS] CONTAINER...", short: "Remove containers", args: some, complete: all, setup: rmCommand},
		{use: "wait [FLAGS] CONTAINER...", short: "Wait until containers end and print their exit codes", long: waitLong, args: some, complete: all, setup: waitCommand},
		{use: "logs [FLAGS] CONTAINER", short: "Show what a container has written", args: cobra.ExactArgs(1), complete: completer{names: containerNames()}, setup: logsCommand},
		{use: "top [FLAGS] CONTAINER", short: "List the processes of a container", args: cobra.ExactArgs(1), complete: completer{names: containerNames(api.StateRunning)}, setup: topCommand},
		{use: "stats [FLAGS] [CONTAINER...]", short: "Show what containers use, again and again", long: statsLong, args: cobra.ArbitraryArgs, complete: running, setup: statsCommand},
		{
			use: "ps [FLAGS]", short: "List containers", long: psLong, args: cobra.NoArgs,
			values: map[string]names{"filter": containerFilterWords()}, setup: psCommand,
		},
	}
}

func startCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		return failure(eachArg(a.Stdout, args, func(name string) (string, error) {
			err := e.StartContainer(ctx, name, api.StartOptions{})
			if errors.Is(err, fs.ErrExist) { // it may be something else that is there: a port
				if c, ierr := e.InspectContainer(ctx, name); ierr == nil && c.State == api.StateRunning {
					err = nil
				}
			}
			return name, err
		}))
	}
}

func stopCommand(a *App, f *pflag.FlagSet) action {
	opt := bindStop(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) {
			return name, e.StopContainer(ctx, name, opt())
		})
	}
}

func restartCommand(a *App, f *pflag.FlagSet) action {
	opt := bindStop(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		return failure(eachArg(a.Stdout, args, func(name string) (string, error) {
			return name, e.RestartContainer(ctx, name, opt())
		}))
	}
}

// bindStop binds the flags of a stop.
func bindStop(f *pflag.FlagSet) func() api.StopOptions {
	signal := f.StringP("signal", "s", "", "signal to send (the container's stop signal when missing)")
	timeout := f.IntP("time", "t", 10, "seconds until it is killed (the container's when missing)")
	return func() api.StopOptions {
		opt := api.StopOptions{Signal: *signal}
		if f.Changed("time") {
			opt.Timeout = timeout
		}
		return opt
	}
}

func renameCommand(*App, *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		return e.RenameContainer(ctx, args[0], args[1])
	}
}

func killCommand(a *App, f *pflag.FlagSet) action {
	signal := f.StringP("signal", "s", "KILL", "name or number of the signal")
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) {
			return name, e.KillContainer(ctx, name, *signal)
		})
	}
}

func rmCommand(a *App, f *pflag.FlagSet) action {
	var opt api.RemoveOptions
	f.BoolVarP(&opt.Force, "force", "f", false, "kill it first when it runs; one that is not there is no error")
	f.BoolVarP(&opt.Volumes, "volumes", "v", false, "remove the volumes that were made for it, too")
	return func(ctx context.Context, e api.Engine, args []string) error {
		return eachArg(a.Stdout, args, func(name string) (string, error) {
			err := e.RemoveContainer(ctx, name, opt)
			if opt.Force && errors.Is(err, fs.ErrNotExist) { // it may be something of it that is not there
				if _, ierr := e.InspectContainer(ctx, name); errors.Is(ierr, fs.ErrNotExist) {
					return "", nil
				}
			}
			return name, err
		})
	}
}

func logsCommand(a *App, f *pflag.FlagSet) action {
	var opt api.LogOptions
	f.BoolVarP(&opt.Follow, "follow", "f", false, "go on until the container ends")
	since := f.String("since", "", "only what was written from this time on, or this long ago (10m)")
	until := f.String("until", "", "only what was written before this time, or this long ago")
	tail := f.StringP("tail", "n", "all", "only the last lines: a number, or all")
	stamps := f.BoolP("timestamps", "t", false, "show when each line was written")
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		now := time.Now()
		if opt.Since, err = moment(*since, now); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		if opt.Until, err = moment(*until, now); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
		if *tail != "all" {
			n, err := strconv.Atoi(*tail)
			if err != nil || n < 0 {
				return fmt.Errorf("--tail: %q is no number of lines", *tail)
			}
			opt.Tail = &n
		}
		return e.ContainerLogs(ctx, args[0], opt, a.showLog(*stamps))
	}
}

// showLog writes each entry to the stream that it came from.
func (a *App) showLog(stamps bool) func(api.LogEntry) error {
	begun := map[string]bool{} // streams in the middle of a line
	return func(l api.LogEntry) error {
		w := io.Writer(a.Stdout)
		if l.Stream == "stderr" {
			w = a.Stderr
		}
		if stamps && !begun[l.Stream] {
			if _, err := fmt.Fprint(w, l.Time.UTC().Format(time.RFC3339Nano), " "); err != nil {
				return err
			}
		}
		begun[l.Stream] = len(l.Data) > 0 && l.Data[len(l.Data)-1] != '\n'
		_, err := w.Write(l.Data)
		return err
	}
}

// psRow is a line of xc ps, named as Docker names it.
type psRow struct {
	ID         string
	Names      string
	Image      string
	Command    string
	CreatedAt  string
	RunningFor string
	State      string
	Status     string
	Networks   string
	Address    string // the main one
	Addresses  string
	Ports      string
	Labels     string
	Pid        string
}

const psTable = `table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Address}}\t{{.Names}}`

var psHeader = psRow{
	ID: "CONTAINER ID", Names: "NAMES", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED",
	State: "STATE", Status: "STATUS", Networks: "NETWORKS", Address: "ADDRESS", Addresses: "ADDRESSES", Ports: "PORTS", Labels: "LABELS", Pid: "PID",
}

const psLong = `Those that run, or with --all also the others. Filters:

	id=ID                what the id begins with
	name=REGEXP          what the name has in it: web, ^web$, ^web-
	label=KEY[=VALUE]
	status=STATE         created, running or exited
	exited=CODE          ended with this code
	ancestor=IMAGE       made of the image, or of one that was built on it
	network=NETWORK      connected to it: name or id
	volume=VOLUME        has it: name of a volume, path on the host, or path in the container
	before=CONTAINER     made before that one
	since=CONTAINER      made after that one

One of those with the same key has to fit, of labels each, and each key. With status
or exited, those that do not run are listed without --all, too.`

func psCommand(a *App, f *pflag.FlagSet) action {
	var opt api.ListOptions
	f.BoolVarP(&opt.All, "all", "a", false, "also those that do not run")
	filterFlag(f, &opt.Filters, "name=web, status=exited, label=tier=db")
	quiet := f.BoolP("quiet", "q", false, "only ids")
	whole := f.Bool("no-trunc", false, "do not shorten")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, _ []string) error {
		list, err := e.ListContainers(ctx, opt)
		if err != nil {
			return err
		}
		now, rows := time.Now(), []psRow{}
		for _, c := range list {
			rows = append(rows, newPsRow(c, now, *whole))
		}
		standard := psTable
		if *quiet {
			standard = "{{.ID}}"
		}
		return printRows(a.Stdout, *format, standard, psHeader, rows)
	}
}

func newPsRow(c api.Container, now time.Time, whole bool) psRow {
	r := psRow{
		ID: c.ID, Names: c.Name, Image: familiar(c.Image), Command: quoted(c.Args, whole),
		CreatedAt:  c.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: ago(now.Sub(c.Created)),
		State:      c.State, Status: status(c, now), Networks: c.Network, Labels: labelList(c.Labels),
	}
	main, all := addresses(c)
	r.Address, r.Addresses = main, strings.Join(all, ",")
	if c.State == api.StateRunning {
		r.Ports = portWords(c.Ports)
	}
	if c.Image == "" {
		r.Image = c.Rootfs
	}
	if c.Pid != 0 {
		r.Pid = strconv.Itoa(c.Pid)
	}
	return r
}

// status is the state of a container with its time, as Docker says it.
func status(c api.Container, now time.Time) string {
	switch {
	case c.State == api.StateRunning:
		return "Up " + duration(now.Sub(c.Started))
	case c.State == api.StateExited && c.Exit != nil:
		s := fmt.Sprintf("Exited (%d) %s", c.Exit.Code, ago(now.Sub(c.Exit.At)))
		if c.Exit.Lost {
			s += " (lost)"
		}
		return s
	case c.State == api.StateCreated:
		return "Created"
	}
	return c.State
}
