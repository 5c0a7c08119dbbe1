package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/rs/zerolog"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/config"
	"github.com/joyboyid/xc/ipc"
)

// arguments are the flags; each comes before the file's value when it is set.
type arguments struct {
	config string
	over   config.Config
}

func parse(argv []string, usage io.Writer) (arguments, error) {
	var a arguments
	f := flag.NewFlagSet("xcd", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&a.config, "config", "", "read the configuration from this `file` (default "+config.Path+", if it is there)")
	f.StringVar(&a.over.SocketPath, "socket", os.Getenv("XC_SOCKET"), "serve on this `socket` (default "+defaultSocket+")")
	f.StringVar(&a.over.StateDir, "state-dir", os.Getenv("XC_STATE_DIR"), "keep state in this `directory` (default /var/db/xc)")
	f.StringVar(&a.over.RunDir, "run-dir", "", "keep sockets of run loops in this `directory` (default /var/run/xc)")
	f.StringVar(&a.over.LogLevel, "log-level", "", "log from this `level` on: trace, debug, info, warn or error (default info)")
	err := f.Parse(argv)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
		fmt.Fprintf(usage, "xcd: %v\n", err)
	}
	if l := a.over.LogLevel; err == nil && l != "" && !slices.Contains(config.Levels(), l) {
		err = fmt.Errorf("--log-level %s: expected one of %v", l, config.Levels())
		fmt.Fprintf(usage, "xcd: %v\n", err)
	}
	return a, err
}

const defaultSocket = "/var/run/xc.sock"

// load reads the configuration file and lets the flags have the last word.
func (a arguments) load() (config.Config, error) {
	path := a.config
	if path == "" {
		path = config.Path
	}
	c, err := config.Load(path)
	if a.config == "" && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, f := range []struct {
		value       *string
		flag, other string
	}{
		{&c.SocketPath, a.over.SocketPath, defaultSocket},
		{&c.StateDir, a.over.StateDir, ""},
		{&c.RunDir, a.over.RunDir, ""},
		{&c.LogLevel, a.over.LogLevel, "info"},
	} {
		if f.flag != "" {
			*f.value = f.flag
		} else if *f.value == "" {
			*f.value = f.other
		}
	}
	return c, err
}

func engineConfig(c config.Config, log zerolog.Logger) engine.Config {
	ec := engine.Config{
		StateDir: c.StateDir, RunDir: c.RunDir, LogsDir: c.LogsDir,
		ImageDataset: c.ImageDataset, ContainerDataset: c.ContainerDataset, VolumeDataset: c.VolumeDataset, DevfsOffset: c.DevfsIDOffset,
		LogMax: c.LogMaxSize, LogFiles: c.LogFiles, EventsMax: c.EventsMax, EventsAge: c.EventsAge, Credentials: c.Credentials, Search: c.Search, Registries: map[string]engine.Registry{},
		RunLoop: beside("xc-runloop"), Ocitar: beside("ocitar"), Spare: true,
		Report: func(err error) { log.Error().Err(err).Msg("engine") },
	}
	for host, r := range c.Registries {
		ec.Registries[host] = engine.Registry(r)
	}
	return ec
}

// beside finds a helper program next to this executable: it starts quicker and
// holds less memory than this executable in its place, which serves else.
func beside(name string) []string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name))
	if err != nil {
		return nil
	}
	return []string{path}
}

// socketOptions says who may connect: root, and a group where one is configured.
func socketOptions(group string) (ipc.ListenOptions, error) {
	if group == "" {
		return ipc.ListenOptions{}, nil
	}
	gid, err := strconv.Atoi(group)
	if err != nil {
		g, lookupErr := user.LookupGroup(group)
		if lookupErr != nil {
			return ipc.ListenOptions{}, fmt.Errorf("socket_group: %w", lookupErr)
		}
		gid, err = strconv.Atoi(g.Gid)
	}
	return ipc.ListenOptions{Mode: 0o660, GID: gid}, err
}
