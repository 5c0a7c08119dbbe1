package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/engine/store"
)

// What has happened is a table of the database: it is written by the
// transaction that records the change, and read from there by everybody who
// follows, each at his own pace. So a slow reader costs nothing, and what he was
// too slow for shows as a gap between two ids.

// Bounds of what an event says, in bytes.
const (
	maxEventLabels  = 4 << 10
	maxEventCommand = 1 << 10
)

// event makes an event of a container; attributes are keys and values.
func (c *container) event(action string, attributes ...string) api.Event {
	ev := api.Event{Type: api.EventContainer, Action: action, Object: c.id, Name: c.name(), Image: c.plan.Image, Labels: c.plan.Labels}
	size := 0
	for k, v := range c.plan.Labels {
		size += len(k) + len(v)
	}
	if size > maxEventLabels {
		ev.Labels = nil
	}
	for i := 0; i < len(attributes); i += 2 {
		if ev.Attributes == nil {
			ev.Attributes = map[string]string{}
		}
		ev.Attributes[attributes[i]] = attributes[i+1]
	}
	return ev
}

// ended is the end of a run, and its begin where there was no engine to tell it.
func (c *container) ended(exit api.Exit) []api.Event {
	end := c.event(api.EventExit)
	if exit.Lost {
		end.Action = api.EventLost
	}
	end.Exit = &exit
	if st, _ := c.get(); st.Phase == phaseStarting && !exit.Lost && exit.Error == "" {
		return []api.Event{c.event(api.EventStart), end}
	}
	return []api.Event{end}
}

func (c *container) execEvent(action string, opt api.ExecOptions) api.Event {
	command := strings.Join(opt.Args, " ")
	if len(command) > maxEventCommand {
		command = strings.ToValidUTF8(command[:maxEventCommand], "") + "…"
	}
	ev := c.event(action, "command", command)
	if opt.ID != "" {
		ev.Attributes["exec"] = opt.ID
	}
	return ev
}

// imageEvent makes an event of an image, by its manifest's digest.
func imageEvent(action, digest, name string) api.Event {
	return api.Event{Type: api.EventImage, Action: action, Object: digest, Name: name}
}

// rows are events as the store keeps them.
func rows(list []api.Event) ([]store.Event, error) {
	out := make([]store.Event, len(list))
	for i, ev := range list {
		b, err := json.Marshal(ev)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", ev.Action, err)
		}
		out[i] = store.Event{At: time.Now(), Data: b}
	}
	return out, nil
}

// tell records what was done that leaves no other record. It is done, so a
// failure is not its caller's.
func (e *Engine) tell(list ...api.Event) {
	events, err := rows(list)
	if err == nil {
		err = e.db.AppendEvents(context.Background(), events...)
	}
	if err != nil {
		e.cfg.Report(err)
	}
}

// eventBatch is how many events are read at once.
const eventBatch = 256

// Events implements api.System.
func (e *Engine) Events(ctx context.Context, opt api.EventOptions) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		r := eventReader{e: e, opt: opt, yield: yield}
		if err := r.run(ctx); err != nil {
			yield(api.Event{}, fmt.Errorf("events: %w", err))
		}
	}
}

// eventReader is one reader of the events.
type eventReader struct {
	e     *Engine
	opt   api.EventOptions
	yield func(api.Event, error) bool
	fits  func(api.Event) bool
	at    int64 // id of the last one read
	begun bool  // at is one that was read, or asked for
	left  bool  // the consumer has gone
}

func (r *eventReader) run(ctx context.Context) (err error) {
	asked := slices.Clone(r.opt.Filters)
	for i, f := range asked {
		if value, ok := strings.CutPrefix(f, "event="); ok {
			asked[i] = "action=" + value
		}
	}
	if r.fits, err = r.e.eventFilters(ctx).parse(asked); err != nil {
		return err
	}
	var until <-chan time.Time
	if !r.opt.Until.IsZero() {
		t := time.NewTimer(time.Until(r.opt.Until))
		defer t.Stop()
		until = t.C
	}
	last, newer := r.e.db.LastEvent()
	switch {
	case r.opt.After != nil:
		r.at, r.begun = *r.opt.After, true
	case r.opt.Follow && r.opt.Since.IsZero():
		r.at, r.begun = last, true
	}
	for {
		if err := r.read(ctx); err != nil || r.left || !r.opt.Follow {
			return err
		}
		select {
		case <-newer:
			_, newer = r.e.db.LastEvent()
		case <-until:
			return r.read(ctx)
		case <-ctx.Done():
			return ctx.Err()
		case <-r.e.ctx.Done():
			return errClosed
		}
	}
}

// read yields what there is.
func (r *eventReader) read(ctx context.Context) error {
	for !r.left {
		list, err := r.e.db.Events(ctx, r.at, eventBatch)
		if err != nil {
			return err
		}
		for _, row := range list {
			if skipped := row.ID - r.at - 1; r.begun && skipped > 0 && !r.left {
				r.left = !r.yield(api.Event{ID: row.ID - 1, Time: row.At, Type: api.EventEngine, Action: api.EventSkipped, Skipped: skipped}, nil)
			}
			if r.at, r.begun = row.ID, true; r.left {
				return nil
			}
			if err := r.one(row); err != nil {
				return err
			}
		}
		if len(list) < eventBatch {
			return nil
		}
	}
	return nil
}

// one yields an event if it is one of those chosen.
func (r *eventReader) one(row store.Event) error {
	if row.At.Before(r.opt.Since) || !r.opt.Until.IsZero() && row.At.After(r.opt.Until) {
		return nil
	}
	var ev api.Event
	if err := json.Unmarshal(row.Data, &ev); err != nil {
		return fmt.Errorf("event %d: %w", row.ID, err)
	}
	ev.ID, ev.Time = row.ID, row.At
	if !r.fits(ev) {
		return nil
	}
	r.left = !r.yield(ev, nil)
	return nil
}

// eventFilters are the filters of events.
func (e *Engine) eventFilters(ctx context.Context) filters[api.Event] {
	return filters[api.Event]{
		keys: []string{"type", "action", "container", "image", "label"},
		read: func(key, value string) (func(api.Event) bool, error) { return e.eventFilter(ctx, key, value), nil },
	}
}

// eventFilter reads one filter.
func (e *Engine) eventFilter(ctx context.Context, key, value string) func(api.Event) bool {
	switch key {
	case "type":
		return func(ev api.Event) bool { return ev.Type == value }
	case "action":
		return func(ev api.Event) bool { return ev.Action == value }
	case "container":
		id := value
		if c, err := e.find(ctx, value); err == nil { // else it may have been, or may yet come
			id = c.id
		}
		return func(ev api.Event) bool {
			return ev.Type == api.EventContainer && (ev.Object == id || ev.Name == value)
		}
	case "image":
		return e.imageFilter(value)
	}
	fits := labelled(value)
	return func(ev api.Event) bool { return fits(ev.Labels) }
}

// imageFilter takes a name as it is written elsewhere, or the digest of a
// manifest or its beginning.
func (e *Engine) imageFilter(value string) func(api.Event) bool {
	names := []string{value}
	refs, _ := e.references(value) // what is no name is a digest
	for _, ref := range refs {
		names = append(names, ref.String())
	}
	hex := strings.TrimPrefix(value, "sha256:")
	return func(ev api.Event) bool {
		if ev.Type != api.EventImage {
			return slices.Contains(names, ev.Image)
		}
		return slices.Contains(names, ev.Name) || len(hex) >= 12 && strings.HasPrefix(ev.Object, "sha256:"+hex)
	}
}
