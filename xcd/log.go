package main

import (
	"os"
	"reflect"

	apexlog "github.com/apex/log"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/joyboyid/xc/engine/config"
)

// logger writes JSON, or lines for people where they look on.
func logger(f *os.File) zerolog.Logger {
	log := zerolog.New(f)
	if isatty.IsTerminal(f.Fd()) {
		log = zerolog.New(zerolog.ConsoleWriter{Out: f})
	}
	log = log.With().Timestamp().Logger()
	// umoci, which reads images, has a logger of its own.
	apexlog.SetHandler(apexlog.HandlerFunc(func(e *apexlog.Entry) error {
		log.Debug().Fields(map[string]any(e.Fields)).Msg(e.Message)
		return nil
	}))
	return log
}

func setLevel(name string) {
	if level, err := zerolog.ParseLevel(name); err == nil { // checked by config and flags
		zerolog.SetGlobalLevel(level)
	}
}

// reload reads the configuration again: the level of the log changes at once,
// for the rest it tells what a restart would do.
func reload(args arguments, running config.Config, log zerolog.Logger) {
	c, err := args.load()
	if err != nil {
		log.Error().Err(err).Msg("configuration not changed")
		return
	}
	setLevel(c.LogLevel)
	log.Info().Str("log_level", c.LogLevel).Msg("configuration read")
	c.LogLevel = running.LogLevel
	if !reflect.DeepEqual(c, running) {
		log.Warn().Msg("the configuration has changed in more than log_level: that takes effect when xcd is restarted, which leaves containers running")
	}
}
