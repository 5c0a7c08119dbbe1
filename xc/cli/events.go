package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const eventsLong = `Without --follow: what is kept of what has happened, oldest first. With --follow
and without --since: what happens from now on; when xcd is restarted meanwhile it
goes on where it was. A run of a container has one start and then one exit or,
where its run loop was killed, lost. An event that says skipped tells that events
were removed before they could be read.

Filters: type (container, image), action, container, image, label. One of those
with the same key has to fit, and each key.`

func eventsCommand(a *App, f *pflag.FlagSet) action {
	var opt api.EventOptions
	f.BoolVarP(&opt.Follow, "follow", "f", false, "go on with what happens")
	since := f.String("since", "", "only what has happened from this time on, or this long ago (10m)")
	until := f.String("until", "", "only what happens until this time, or until this long ago; ends --follow too")
	f.Var((*repeated)(&opt.Filters), "filter", "only what fits KEY=VALUE, as container=web, action=exit, label=tier=db")
	format := formatFlag(f)
	return func(ctx context.Context, _ api.Engine, _ []string) (err error) {
		now := time.Now()
		if opt.Since, err = moment(*since, now); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		if opt.Until, err = moment(*until, now); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
		show, err := a.eventPrinter(*format)
		if err != nil {
			return err
		}
		return a.events(ctx, opt, now, show)
	}
}

// events shows events, of one daemon after the other if need be.
func (a *App) events(ctx context.Context, opt api.EventOptions, begin time.Time, show func(api.Event) error) error {
	return a.session.insist(ctx, func(e api.Engine) error {
		for ev, err := range e.Events(ctx, opt) {
			if err != nil {
				if a.session.lost(ctx, err) && opt.After == nil && opt.Since.IsZero() {
					opt.Since = begin // for the next daemon
				}
				return err
			}
			if err := show(ev); err != nil {
				return err
			}
			opt.After = &ev.ID
		}
		return nil
	})
}

// eventPrinter prints one event at a time.
func (a *App) eventPrinter(format string) (func(api.Event) error, error) {
	switch format {
	case "":
		return func(ev api.Event) error {
			_, err := fmt.Fprintln(a.Stdout, eventLine(ev))
			return err
		}, nil
	case "json":
		enc := json.NewEncoder(a.Stdout)
		enc.SetEscapeHTML(false)
		return func(ev api.Event) error { return enc.Encode(ev) }, nil
	}
	t, err := parseTemplate(unescape(format) + "\n")
	if err != nil {
		return nil, err
	}
	show := func(w io.Writer, ev api.Event) error {
		var line strings.Builder
		if err := t.Execute(&line, ev); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		_, err := io.WriteString(w, line.String())
		return err
	}
	if err := show(io.Discard, api.Event{Exit: &api.Exit{}}); err != nil { // also when nothing happens
		return nil, err
	}
	return func(ev api.Event) error { return show(a.Stdout, ev) }, nil
}

// eventLine is an event as text: when, what, and in parentheses the rest.
func eventLine(ev api.Event) string {
	var rest []string
	add := func(key, value string) {
		if value != "" {
			if strings.ContainsAny(value, " ,()\"\n") {
				value = strconv.Quote(value)
			}
			rest = append(rest, key+"="+value)
		}
	}
	if ev.Object != "" { // else the name is all there is
		add("name", familiar(ev.Name))
	}
	add("image", familiar(ev.Image))
	if x := ev.Exit; x != nil {
		add("code", strconv.Itoa(x.Code))
		add("signal", x.Signal)
		add("error", x.Error)
	}
	for _, k := range slices.Sorted(maps.Keys(ev.Attributes)) {
		add(k, ev.Attributes[k])
	}
	for _, k := range slices.Sorted(maps.Keys(ev.Labels)) {
		add(k, ev.Labels[k])
	}
	if ev.Skipped > 0 {
		add("events", strconv.FormatInt(ev.Skipped, 10))
	}
	object := ev.Object
	if object == "" {
		object = familiar(ev.Name)
	}
	line := strings.Join(strings.Fields(strings.Join([]string{ev.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), ev.Type, ev.Action, object}, " ")), " ")
	if len(rest) > 0 {
		line += " (" + strings.Join(rest, ", ") + ")"
	}
	return line
}
