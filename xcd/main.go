// Command xcd is the daemon: it opens the engine and serves it on a socket.
//
// SIGTERM and SIGINT end it and leave the containers running; the next one
// finds them again. SIGHUP makes it read its configuration again. It logs to
// standard error, JSON unless that is a terminal. docs/configuration.md has
// the configuration.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/joyboyid/xc/engine"
	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/ipc"
)

// drain is how long calls that are running may go on after SIGTERM. Most of
// those that take longer wait for a container, and are asked again of the next
// daemon by their clients.
const drain = 2 * time.Second

func main() {
	engine.Main() // a helper program of the engine may be this executable
	// Directories that are made in the roots of containers are for everybody there.
	syscall.Umask(0o022)
	args, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	log := logger(os.Stderr)
	if err := run(args, log); err != nil {
		log.Error().Err(err).Msg("xcd ends")
		os.Exit(1)
	}
}

func run(args arguments, log zerolog.Logger) (err error) {
	// From the first moment: one that comes while the engine recovers must not end it.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	c, err := args.load()
	if err != nil {
		return err
	}
	setLevel(c.LogLevel)
	listen, err := socketOptions(c.SocketGroup)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	e, err := engine.Open(ctx, engineConfig(c, log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	l, err := ipc.Listen(c.SocketPath, listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.SocketPath, err)
	}
	if err := e.Announce(c.SocketPath); err != nil {
		return errors.Join(err, l.Close())
	}
	s := server(e, listen.GID, log)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	log.Info().Str("socket", c.SocketPath).Int("pid", os.Getpid()).Msg("xcd serves")
	for {
		select {
		case <-hangup:
			reload(args, c, log)
			continue
		case err := <-served:
			return fmt.Errorf("serve %s: %w", c.SocketPath, err)
		case <-ctx.Done():
		}
		log.Info().Msg("xcd ends; containers go on")
		draining, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if err := s.Shutdown(draining); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	}
}

// server serves the engine to root, to the user the daemon runs as, and to the
// members of the socket's group.
func server(e api.Engine, gid int, log zerolog.Logger) *ipc.Server {
	handle := api.EngineHandler(e)
	return &ipc.Server{
		Handler: func(ctx context.Context, r *ipc.Request) (any, []*os.File, error) {
			begin := time.Now()
			out, files, err := handle(ctx, r)
			log.Debug().Str("method", r.Method).Dur("ms", time.Since(begin)).Int("pid", r.Peer.PID).Err(err).Msg("call")
			return out, files, err
		},
		Admit: func(p ipc.Peer) error {
			err := p.Here()
			if err != nil {
				level := zerolog.WarnLevel
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) { // it has left before it was looked at
					level = zerolog.DebugLevel
				}
				log.WithLevel(level).Int("pid", p.PID).Uint32("uid", p.UID).Err(err).Msg("connection refused")
			}
			return err
		},
		Allow: func(p ipc.Peer, method string) error {
			member := gid != 0 && (p.GID == uint32(gid) || slices.Contains(p.Groups, uint32(gid)))
			if p.UID == 0 || int(p.UID) == os.Geteuid() || member {
				return nil
			}
			return fmt.Errorf("%s by uid %d: %w", method, p.UID, fs.ErrPermission)
		},
		Panic: func(method string, value any, stack []byte) {
			log.Error().Str("method", method).Interface("panic", value).Bytes("stack", stack).Msg("a call panicked")
		},
	}
}
