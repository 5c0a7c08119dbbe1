package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/joyboyid/xc/freebsd/rctl"
	"github.com/joyboyid/xc/site"
)

// canLimit tells whether the kernel counts what jails use.
func (h *Host) canLimit(l Limits) error {
	if l.Memory == 0 && l.CPUs == 0 && l.Pids == 0 || rctl.Enabled() {
		return nil
	}
	return fmt.Errorf("limits of memory, processes and processor time: %w: the kernel does not count what jails use: put kern.racct.enable=1 into /boot/loader.conf and reboot", errors.ErrUnsupported)
}

// rules are the limits as the kernel takes them; rctl(8).
func (l Limits) rules(jail string) []rctl.Rule {
	subject := rctl.Jail(jail)
	var rules []rctl.Rule
	if l.Memory > 0 {
		// Counted once a second. Nothing is denied at the limit: the process that
		// is found above it is killed.
		rules = append(rules, rctl.Rule{Subject: subject, Resource: "memoryuse", Action: "sigkill", Amount: uint64(l.Memory)})
	}
	if l.CPUs > 0 {
		rules = append(rules, rctl.Rule{Subject: subject, Resource: "pcpu", Action: "deny", Amount: uint64(math.Round(l.CPUs * 100))})
	}
	if l.Pids > 0 {
		// A process has a thread at least, so that this limits processes as well.
		rules = append(rules, rctl.Rule{Subject: subject, Resource: "nthr", Action: "deny", Amount: uint64(l.Pids)})
	}
	return rules
}

// limitSteps limit a jail before it exists. Rules do not go with the jail.
func (h *Host) limitSteps(s Spec, jail string) []site.Step {
	rules := s.Limits.rules(jail)
	if len(rules) == 0 {
		return nil
	}
	return []site.Step{step(kindRules, thing{Name: jail}, func(context.Context) error { return rctl.Add(rules...) })}
}

// removeRules removes the limits of a jail, which must be ours.
func (h *Host) removeRules(_ context.Context, t thing) error {
	if !strings.HasPrefix(t.Name, h.jailName("")) {
		return fmt.Errorf("remove limits of jail %s: it is not ours", t.Name)
	}
	return rctl.Remove(rctl.Jail(t.Name))
}

// leftRules finds limits of jails.
func (h *Host) leftRules(add func(kind, name, id string)) error {
	if !rctl.Enabled() {
		return nil
	}
	rules, err := rctl.AllRules()
	for _, r := range rules {
		name, _ := strings.CutPrefix(string(r.Subject), "jail:")
		if id, ok := strings.CutPrefix(name, h.jailName("")); ok {
			add("limit", r.String(), id)
		}
	}
	return err
}

// OutOfMemory is false: the kernel does not tell why it has sent a signal.
func (h *Host) OutOfMemory(Spec) (bool, error) { return false, nil }
