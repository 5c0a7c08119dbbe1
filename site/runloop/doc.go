// Package runloop is the process that a running container has to itself: it
// starts main and what is exec'ed beside it, follows their trees, owns their
// terminals, writes their log, answers [control.Control], and leaves the exit
// record. It outlives the daemon. Command xc-runloop is this package and the
// [Tenant] of its operating system.
//
// # Starting one
//
// Whoever starts a run loop gives it three descriptors and no others but
// those its tenant asks for, from 6 on (the tenant sets close-on-exec there):
//
//	3  a listening UNIX socket, on which control is served
//	4  one end of a connected pair of UNIX sockets: control for the starter
//	5  its configuration, a [Config] as JSON, read to its end
//
// The configuration may come long after the start: a run loop can be kept ready.
// It serves the socket meanwhile, not the starter; a call that needs the tenant
// waits for it. A run loop that gets no configuration, since its starter has died,
// ends.
//
// Arguments are "xc-runloop ID", for ps(1). The process makes a session of its
// own, so it must not be started as the leader of a process group without
// being that of a session too. It has /dev/null as its standard streams. No
// directory is open in it while it starts a process: jail_attach(2) refuses that.
// What opens one, to look up names or to make the record durable, does so between
// starts.
//
// # Its life
//
//  1. It serves. Until a Start has succeeded, descriptor 4 is its lifeline:
//     when the starter goes away, the tenant is closed and the run loop exits,
//     with a record that says that the container has never run.
//  2. Start runs the init commands, if there are any, and main when each has
//     succeeded. From then on only the container's end or Abandon ends the run loop.
//  3. The container has ended when main and all its descendants are gone, or
//     with Process.WaitMain when main is. Exec'ed processes keep nothing alive.
//     The deinit commands follow, in what is still the same tenant.
//  4. The tenant is closed: nothing of it lives. What is left in pipes and
//     terminals goes to the log. The exit record is renamed into place, and
//     synced to the disk if nobody waits. Only then is Wait answered; attached
//     clients get a moment to read what they have not read yet; the process exits.
//
// A starter that finds the process gone reads the record with [ReadExit]; if
// there is none, the run loop was killed (the container is lost) or main was
// never started, which the starter knows. A call that meets the end of a run
// loop fails with ipc.ErrLost or an error of code ipc.CodeUnavailable: its
// answer is the record.
package runloop
