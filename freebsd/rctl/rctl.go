// Package rctl limits and measures what jails, users, processes and login classes
// consume: rctl(4), by its five system calls and without rctl(8).
//
// # Words
//
// A [Rule] says that an action is taken when a subject has used an amount of a
// resource. A rule for a jail is bound to the jail's name: add it before the jail
// is made, so that there is no moment without a limit, and remove it afterwards,
// because it does not go with the jail.
//
//	web := rctl.Jail("web")
//	err := rctl.Add(rctl.Rule{Subject: web, Resource: "maxproc", Action: "deny", Amount: 100})
//	usage, err := rctl.Usage(web)
//	err = rctl.Remove(web)
//
// The kernel counts only if it was booted with kern.racct.enable=1 (loader.conf);
// otherwise the calls fail with ENOSYS, and [Enabled] is false. Not every limit is
// exact: memoryuse is looked at once a second and makes no allocation fail;
// cputime and wallclock cannot be denied. rctl(8) has the list.
//
// On other systems every call returns [errors.ErrUnsupported].
package rctl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// Subject is who is limited or measured, as rctl(8) writes it: "jail:web",
// "process:17", "user:www", "loginclass:daemon".
type Subject string

// Jail is the subject of a jail with this name.
func Jail(name string) Subject { return Subject("jail:" + name) }

// Rule is one limit.
type Rule struct {
	Subject  Subject
	Resource string // "maxproc", "memoryuse", "openfiles", "pcpu", ...
	Action   string // "deny", "log", "devctl", "throttle", or a signal like "sigkill"
	Amount   uint64 // in the unit of the resource: bytes, a number, percent of a core, seconds
	Per      string // "process", "user", ...: for each of those; "" for the subject as a whole
}

// String is the rule as rctl(8) writes it.
func (r Rule) String() string {
	s := fmt.Sprintf("%s:%s:%s=%d", r.Subject, r.Resource, r.Action, r.Amount)
	if r.Per != "" {
		s += "/" + r.Per
	}
	return s
}

// check refuses what the kernel would read as something else.
func (r Rule) check() error {
	bad := strings.Contains(r.Resource+r.Action+r.Per, ":") || r.Resource == "" || r.Action == "" || r.Subject.check() != nil
	if bad || strings.ContainsAny(r.Resource+r.Action+r.Per, "=/,\x00") {
		return &Error{Op: "add", What: r.String(), Errno: syscall.EINVAL}
	}
	return nil
}

// check refuses what is not exactly one subject: "jail:" alone would be all jails.
func (s Subject) check() error {
	kind, id, ok := strings.Cut(string(s), ":")
	if !ok || kind == "" || id == "" || strings.ContainsAny(string(s), ",=/\x00") || strings.Contains(id, ":") {
		return &Error{Op: "name", What: string(s), Errno: syscall.EINVAL}
	}
	return nil
}

// Error is a call that failed.
type Error struct {
	Op    string // "add", "remove", "rules", "usage", "name"
	What  string // the rule or the subject
	Errno syscall.Errno
}

func (e *Error) Error() string {
	s := "rctl " + e.Op + " " + e.What + ": " + e.Errno.Error()
	if e.Errno == syscall.ENOSYS {
		s += " (the kernel needs kern.racct.enable=1 in loader.conf and a reboot)"
	}
	return s
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Enabled reports whether the kernel counts and limits.
func Enabled() bool { return enabled() }

// Add adds rules.
func Add(rules ...Rule) error {
	for _, r := range rules {
		if err := r.check(); err != nil {
			return err
		}
	}
	for _, r := range rules {
		if _, err := call("add", r.String()); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes all rules of a subject. There being none is no error.
func Remove(s Subject) error {
	if err := s.check(); err != nil {
		return err
	}
	_, err := call("remove", string(s))
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Rules returns the rules of a subject.
func Rules(s Subject) ([]Rule, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	out, err := call("rules", string(s))
	if err != nil {
		return nil, err
	}
	return parseRules(out)
}

// AllRules returns the rules of all subjects.
func AllRules() ([]Rule, error) {
	out, err := call("rules", "::")
	if err != nil {
		return nil, err
	}
	return parseRules(out)
}

// Usage returns what a subject uses of each resource. A jail that does not exist
// uses nothing.
func Usage(s Subject) (map[string]uint64, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	out, err := call("usage", string(s))
	if err != nil {
		return nil, err
	}
	return parseUsage(out)
}

// parseRules reads rules that are separated by commas.
func parseRules(out string) ([]Rule, error) {
	var rules []Rule
	for f := range strings.SplitSeq(out, ",") {
		if f == "" {
			continue
		}
		r, err := parseRule(f)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(s string) (Rule, error) {
	f := strings.Split(s, ":")
	if len(f) != 4 {
		return Rule{}, fmt.Errorf("rctl rule %q has %d parts", s, len(f))
	}
	action, amount, ok := strings.Cut(f[3], "=")
	amount, per, _ := strings.Cut(amount, "/")
	n, err := strconv.ParseUint(amount, 10, 64)
	if err != nil || !ok {
		return Rule{}, fmt.Errorf("rctl rule %q has no amount", s)
	}
	if per == f[0] {
		per = "" // the kernel says it even where it goes without saying
	}
	return Rule{Subject(f[0] + ":" + f[1]), f[2], action, n, per}, nil
}

// parseUsage reads pairs "resource=amount" that are separated by commas.
func parseUsage(out string) (map[string]uint64, error) {
	usage := map[string]uint64{}
	for f := range strings.SplitSeq(out, ",") {
		if f == "" {
			continue
		}
		name, amount, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(amount, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("rctl usage %q: %w", f, err)
		}
		usage[name] = n
	}
	return usage, nil
}
