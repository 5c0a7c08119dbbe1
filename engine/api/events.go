package api

import "time"

// Types of events: what they are about.
const (
	EventContainer = "container"
	EventImage     = "image"
	EventEngine    = "engine"
)

// Actions of events. A run of a container has one EventStart and then one of
// EventExit and EventLost; a start that fails has only an EventExit, whose Exit
// has the error.
const (
	EventCreate   = "create"
	EventStart    = "start" // main runs
	EventExit     = "exit"  // the run is over: Exit tells how
	EventLost     = "lost"  // the same, but the run loop was killed, so how it ended is not known
	EventStop     = "stop"  // what StopContainer was asked to do is done
	EventKill     = "kill"  // a signal was sent: Attributes "signal"
	EventRestart  = "restart"
	EventRename   = "rename"    // Attributes "old_name"
	EventExec     = "exec"      // a command is run: Attributes "command", "exec"
	EventExecExit = "exec_exit" // and has ended, or could not be run: Exit tells how
	EventCommit   = "commit"    // of a container: Attributes "image"; of the image that was made
	EventRemove   = "remove"    // of a container, or of an image with its last name

	EventPull   = "pull"
	EventPush   = "push"
	EventImport = "import"
	EventLoad   = "load"
	EventSave   = "save"
	EventTag    = "tag"   // another name was given
	EventUntag  = "untag" // a name was removed

	EventSkipped = "skipped" // of the engine: Skipped events were removed before this reader came to them
)

// Event is something that has happened. What changes a container's record is
// told exactly once, also when the engine was killed or did not run when it
// happened. What leaves no record (kill, stop, restart, exec, the events of images) is told
// once it is done; an engine that is killed in between does not tell it.
type Event struct {
	ID         int64             `json:"id"` // each is the last one's and 1
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"`
	Action     string            `json:"action"`
	Object     string            `json:"object,omitempty"`     // id of the container, digest of the image's manifest
	Name       string            `json:"name,omitempty"`       // of the container or image, then
	Image      string            `json:"image,omitempty"`      // of which the container was made
	Labels     map[string]string `json:"labels,omitempty"`     // of the container, if they are not more than 4 KiB
	Exit       *Exit             `json:"exit,omitempty"`       // of EventExit, EventLost, EventExecExit
	Attributes map[string]string `json:"attributes,omitempty"` // see the actions
	Skipped    int64             `json:"skipped,omitempty"`    // of EventSkipped
}

// EventOptions choose events. Without Follow they are those that are kept.
type EventOptions struct {
	Follow bool      `json:"follow,omitempty"` // go on with what happens; without Since and After, only that
	Since  time.Time `json:"since,omitzero"`   // not those before
	Until  time.Time `json:"until,omitzero"`   // not those after; ends a Follow, too
	After  *int64    `json:"after,omitempty"`  // only those with ids above: to go on where one was; what is kept no more is told by EventSkipped
	// Filters are KEY=VALUE. One of those with the same key has to fit, and
	// each key. Keys: type, action (or event), container (name or id), image
	// (name, also of what a container was made of), label (KEY or KEY=VALUE).
	Filters []string `json:"filters,omitempty"`
}
