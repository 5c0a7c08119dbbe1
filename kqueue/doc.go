// Package kqueue follows processes and everything they fork, with kqueue(2)'s
// EVFILT_PROC and NOTE_TRACK, and tells for certain when none of them is left.
//
// # Words
//
// A [Tracker] belongs to a process that starts others. It watches its own
// process, so that every child is followed from birth, and it is the reaper
// (procctl(2), PROC_REAP_ACQUIRE) of whatever its children leave behind.
//
// A [Tree] is one process that [Tracker.Start] has started, called main, with
// all its descendants: a process belongs to the tree of its parent for life.
// Double forks, setsid(2), a killed parent or a jail change nothing about that.
// Processes which enter a jail from elsewhere are not descendants and are not
// seen.
//
// A note is what the kernel posts about one process. Notes can be merged,
// repeated, and lost: with NOTE_TRACKERR when memory is short, and silently when
// threads of one process fork at the same time. One kqueue can so lose a fork out
// of a thousand; therefore three follow every process, the lanes. To escape them
// all a fork needs more threads of its process than that in the same few
// instructions of the kernel.
//
// Notes are a prompt, never a proof. The proof is the census, the kernel's own
// list of the reaper's descendants (PROC_REAP_GETPIDS), in which each one carries
// the number of the child of ours that it hangs from. A tree is reported empty
// only after a census has listed nothing alive in it and every zombie has been
// waited for, so that a jail they lived in is free to go.
//
// # One story
//
//	t, err := kqueue.NewTracker()
//	tree, err := t.Start(&exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "daemon sleep 9"}})
//	for {
//		e, err := tree.Next(ctx)
//		if err == io.EOF {
//			break // main and all that it forked are gone, and reaped
//		}
//		fmt.Println(e)
//	}
//
// # The rules
//
// All children are waited for by the Tracker, by number, never "any child": do
// not call [os/exec.Cmd.Wait] or [os.Process.Wait] for what Start started. Main's
// status is in its Exit event; cmd.ProcessState is set once Next has returned
// io.EOF.
//
// Many forks at once in the tracking process itself can lose one of them
// (sys/kern/kern_event.c, knote_fork passes over a note in flux), and Go forks in
// parallel on FreeBSD. Start holds a lock of its own; start nothing in this
// process by other means. Children started otherwise are left alone: they are
// not waited for, but orphans that they leave are.
//
// On other systems [NewTracker] returns [errors.ErrUnsupported].
package kqueue
