package kqueue

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// settle acts on what the notes have told. All that were queued have been read.
func (t *Tracker) settle(now time.Time) error {
	if err := t.cover(); err != nil {
		return err
	}
	if len(t.fold.trees) == 0 {
		t.auditAt = now.Add(auditTime)
	}
	if t.fold.doubtful() || t.armed != nil || (now.After(t.auditAt) && len(t.fold.trees) > 0) {
		t.auditAt = now.Add(auditTime)
		if err := t.reconcile(); err != nil {
			return err
		}
		if t.armed != nil {
			return nil
		}
	}
	if t.fold.sweep && t.sweepAt.IsZero() {
		t.sweepAt = now.Add(sweepTime)
	}
	quiet := t.fold.quiet()
	if len(quiet) == 0 && (t.sweepAt.IsZero() || now.Before(t.sweepAt)) {
		t.retry = 0
		return nil
	}
	return t.confirm(quiet)
}

// reconcile does one round of the comparison with a census. It ends with
// t.armed nil when nothing is in doubt, and wants to be called again, after all
// notes have been read, otherwise.
func (t *Tracker) reconcile() error {
	census, err := t.kernel.census()
	if err != nil {
		return fmt.Errorf("census: %w", err)
	}
	strangers := t.fold.pending()
	unknown, settled := t.fold.reconcile(census, t.armed)
	t.fold.strange = false
	t.disarm(census, strangers)
	arm := unknown
	if t.fold.trackErr {
		// A process may be known by its birth and not be watched.
		t.fold.trackErr, settled = false, false
		for _, m := range census {
			if tree := t.fold.trees[m.root]; tree != nil && tree.fate != foreign {
				arm = append(arm, m.pid)
			}
		}
	}
	t.armed = nil
	if settled {
		return nil
	}
	t.armed = make(map[int]bool, len(arm))
	for _, pid := range arm {
		switch err := t.kernel.watch(pid, true); {
		case err == nil:
			t.armed[pid] = true
			t.fold.follow(pid)
		case errors.Is(err, syscall.ESRCH): // has ended, or is not quite born
		default:
			return fmt.Errorf("watch process %d: %w", pid, err)
		}
	}
	return nil
}

// cover watches in all lanes what some of them have lost, so that its children
// are no easier to lose than others, and lets go of what was watched too late.
func (t *Tracker) cover() error {
	for _, pid := range t.fold.strays {
		_ = t.kernel.watch(pid, false) // ENOENT: nothing was
	}
	for _, p := range t.fold.partial {
		switch err := t.kernel.watch(p.pid, true); {
		case err == nil:
			p.follow()
		case errors.Is(err, syscall.ESRCH): // has ended
		default:
			return fmt.Errorf("watch process %d: %w", p.pid, err)
		}
	}
	t.fold.strays, t.fold.partial = nil, nil
	return nil
}

// disarm takes back the notes of processes that turned out to be none of ours:
// the number of one that had ended was given away before it was watched.
func (t *Tracker) disarm(census []member, strangers []int) {
	listed := make(map[int]bool, len(census))
	for _, m := range census {
		listed[m.pid] = true
	}
	for pid := range t.armed {
		strangers = append(strangers, pid)
	}
	for _, pid := range strangers {
		if !listed[pid] && t.fold.living(pid) == nil {
			_ = t.kernel.watch(pid, false) // ENOENT: it has ended, and its note with it
		}
	}
}

// confirm takes a census, waits for the zombies in it, and ends those trees of
// quiet in which there is nothing else.
func (t *Tracker) confirm(quiet []*Tree) error {
	census, err := t.kernel.census()
	if err != nil {
		return fmt.Errorf("census: %w", err)
	}
	t.fold.sweep, t.sweepAt = false, time.Time{}
	left := map[int]int{} // by root: members that remain
	again := false
	for _, m := range census {
		gone, err := t.reap(m)
		if err != nil {
			return fmt.Errorf("wait for process %d: %w", m.pid, err)
		}
		if !gone {
			left[m.root]++
			again = again || (m.flags&memberChild != 0 && !m.alive() && t.ours(m))
		} else if m.flags&memberReaper != 0 {
			left[m.root]++ // its descendants are listed from now on
			again = true
		}
	}
	waiting := false
	for _, tree := range quiet {
		if left[tree.root] > 0 {
			waiting = true
			continue
		}
		t.fold.forget(tree)
		tree.finish()
	}
	t.retry = t.later(waiting || again)
	return t.hunt(census, quiet, left)
}

// later returns how long to wait before looking again: longer each time.
func (t *Tracker) later(needed bool) time.Duration {
	if !needed {
		return 0
	}
	return min(max(retryMin, t.retry*2), retryMax)
}

// hunt starts a reconciliation if the census shows life in a tree in which the
// notes say that there is none.
func (t *Tracker) hunt(census []member, quiet []*Tree, left map[int]int) error {
	suspect := map[int]bool{}
	for _, tree := range quiet {
		suspect[tree.root] = left[tree.root] > 0
	}
	for _, m := range census {
		if suspect[m.root] && m.alive() && !t.fold.died(m.pid) {
			return t.reconcile()
		}
	}
	return nil
}

// ours reports whether it is for us to wait for m, a child: an orphan always is,
// but what somebody else in this process has started is for them.
func (t *Tracker) ours(m member) bool {
	tree := t.fold.trees[m.root]
	return m.pid != m.root || tree != nil && tree.fate == ours
}

// reap waits for m if that is ours to do and can be done at once, and reports
// whether m is gone. A zombie of ours stays in a census until we wait for it, so
// that its number cannot mean anything else.
func (t *Tracker) reap(m member) (bool, error) {
	if m.flags&memberChild == 0 || m.flags&(memberZombie|memberExiting) == 0 {
		return false, nil
	}
	tree := t.fold.trees[m.root]
	switch {
	case !t.ours(m):
		return false, nil
	case m.pid != m.root || tree.cmd == nil:
		return t.kernel.wait(m.pid, false)
	}
	// Through os.Process, so that it knows: a signal sent to it later must not hit
	// another process which has got the number.
	if ready, err := t.kernel.wait(m.pid, true); err != nil || !ready {
		return false, err
	}
	state, err := tree.cmd.Process.Wait()
	if err != nil && !errors.Is(err, syscall.ECHILD) {
		return false, err
	}
	tree.cmd.ProcessState = state
	return true, nil
}
