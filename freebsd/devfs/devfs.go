// Package devfs decides which devices a mounted devfs(5) shows, by rulesets: the
// ioctls of devfs(8), without running it.
//
// # Words
//
// A ruleset is a list of rules with a number from 1 to 65535, known to the whole
// host. A devfs is mounted with one (option "ruleset=N" of nmount(2)); its rules
// are run in order over each node. Changing a ruleset changes every mount that
// uses it, when nodes are next made: take numbers from a range of one's own.
//
// A rule that includes another ruleset does not resolve what that one includes,
// without a word (vfs.devfs.rule_depth is 1): to include ruleset 4 (devfsrules_jail)
// alone hides nothing. [Needs.Rules] includes none.
//
//	err := devfs.Set(1000, devfs.Needs{Terminal: true}.Rules()...)
//	// mount -t devfs -o ruleset=1000 devfs /jails/c1/dev
//
// On other systems every call returns [errors.ErrUnsupported].
package devfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Rule is what to do with nodes. The zero Rule does nothing to all nodes.
type Rule struct {
	Path    string      // glob of a path below the mount, as in devfs(8); "" is every node
	Hide    bool        // take it out of sight
	Unhide  bool        // bring it back; what it is in must be in sight as well
	Owner   *Owner      // nil: as it is
	Mode    fs.FileMode // permission bits; 0: as they are
	Include uint16      // run that ruleset here; 0: none
}

// Owner is the user and group that a node is given.
type Owner struct{ UID, GID uint32 }

// Needs is what a container wants besides the minimum: null, zero, full, random,
// urandom, crypto, fd, stdin, stdout, stderr.
type Needs struct {
	Terminal bool     // ptmx, pts and what is in it
	Linux    bool     // shm, where Linux programs expect a tmpfs
	Paths    []string // globs of more: "zfs", "dri/*", "pf"
}

// Rules returns a complete ruleset: everything is hidden, and then what is needed
// is unhidden, with the directories it is in.
func (n Needs) Rules() []Rule {
	paths := []string{"null", "zero", "full", "random", "urandom", "crypto", "fd", "fd/*", "stdin", "stdout", "stderr"}
	if n.Terminal {
		paths = append(paths, "ptmx", "pts", "pts/*")
	}
	if n.Linux {
		paths = append(paths, "shm")
	}
	for _, p := range n.Paths {
		for i := range len(p) {
			if p[i] == '/' {
				paths = append(paths, p[:i])
			}
		}
		paths = append(paths, p)
	}
	rules := []Rule{{Hide: true}}
	seen := map[string]bool{}
	for _, p := range paths {
		if !seen[p] {
			rules = append(rules, Rule{Path: p, Unhide: true})
		}
		seen[p] = true
	}
	return rules
}

// Shows tells whether rules, run in order, leave a device in sight: a path below
// the mount, or a glob of such, which a rule has to match as a whole. Rules that
// include others do that alone here.
func Shows(rules []Rule, device string) bool {
	shown := true
	for _, r := range rules {
		if !r.Hide && !r.Unhide {
			continue
		}
		if ok, err := path.Match(r.Path, device); r.Path == "" || ok && err == nil {
			shown = r.Unhide
		}
	}
	return shown
}

// Error is something that could not be done to a ruleset.
type Error struct {
	Op    string // "set", "delete", "rules", "list"
	Set   int
	Errno syscall.Errno
	Msg   string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("devfs %s ruleset %d: ", e.Op, e.Set)
	if e.Msg != "" {
		s += e.Msg + ": "
	}
	return s + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Set makes a ruleset consist of these rules. If it does already nothing is
// touched; otherwise its rules are replaced one by one, first those that hide.
func Set(number uint16, rules ...Rule) error {
	if number == 0 {
		return &Error{Op: "set", Errno: syscall.EINVAL, Msg: "number 0 stands for none"}
	}
	for _, r := range rules {
		if _, err := r.encode(number, 0); err != nil {
			return err
		}
	}
	have, err := Rules(number)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && slices.EqualFunc(have, rules, Rule.equal) {
		return nil
	}
	if err := Delete(number); err != nil {
		return err
	}
	return add(number, rules)
}

// equal compares what two rules do.
func (r Rule) equal(o Rule) bool {
	sameOwner := r.Owner == nil && o.Owner == nil || r.Owner != nil && o.Owner != nil && *r.Owner == *o.Owner
	r.Owner, o.Owner = nil, nil
	return sameOwner && r == o
}

// Delete deletes all rules of a ruleset. It is gone then, unless a mount uses it.
// One that does not exist is no error.
func Delete(number uint16) error { return remove(number) }

// Rules returns the rules of a ruleset. fs.ErrNotExist says that there is none.
func Rules(number uint16) ([]Rule, error) { return rules(number) }

// List returns the numbers of the rulesets in ascending order.
func List() ([]uint16, error) { return list() }

// struct devfs_rule, sys/fs/devfs/devfs.h: offsets in bytes.
const (
	ruleMagic    = 0xdb0a087a
	ruleSize     = 236
	ruleID       = 4 // ruleset << 16 | rule
	ruleCond     = 8
	rulePath     = 16
	rulePathSize = 200
	ruleActs     = 216
	ruleBool     = 220
	ruleUID      = 224
	ruleGID      = 228
	ruleMode     = 232
	ruleInclude  = 234

	condPath = 0x2 // DRC_PATHPTRN

	actBool    = 0x1 // DRA_BACTS
	actUID     = 0x2
	actGID     = 0x4
	actMode    = 0x8
	actInclude = 0x10

	boolHide   = 1 // DRB_HIDE
	boolUnhide = 2
)

var native = binary.NativeEndian

// encode makes a struct devfs_rule. Rule number 0 means the next one.
func (r Rule) encode(set, rule uint16) ([]byte, error) {
	bad := func(why string) error { return &Error{Op: "set", Set: int(set), Errno: syscall.EINVAL, Msg: why} }
	switch {
	case len(r.Path) >= rulePathSize || strings.ContainsRune(r.Path, 0):
		return nil, bad(fmt.Sprintf("path %.60q", r.Path))
	case r.Hide && r.Unhide:
		return nil, bad(fmt.Sprintf("path %q is to be hidden and unhidden", r.Path))
	case r.Mode&^fs.ModePerm != 0:
		return nil, bad(fmt.Sprintf("mode %v", r.Mode))
	case r.Include == set:
		return nil, bad("it includes itself")
	}
	b := make([]byte, ruleSize)
	native.PutUint32(b, ruleMagic)
	native.PutUint32(b[ruleID:], uint32(set)<<16|uint32(rule))
	if r.Path != "" {
		native.PutUint32(b[ruleCond:], condPath)
		copy(b[rulePath:], r.Path)
	}
	var acts uint32
	if r.Hide || r.Unhide {
		acts |= actBool
		native.PutUint32(b[ruleBool:], map[bool]uint32{true: boolHide, false: boolUnhide}[r.Hide])
	}
	if r.Owner != nil {
		acts |= actUID | actGID
		native.PutUint32(b[ruleUID:], r.Owner.UID)
		native.PutUint32(b[ruleGID:], r.Owner.GID)
	}
	if r.Mode != 0 {
		acts |= actMode
		native.PutUint16(b[ruleMode:], uint16(r.Mode))
	}
	if r.Include != 0 {
		acts |= actInclude
		native.PutUint16(b[ruleInclude:], r.Include)
	}
	native.PutUint32(b[ruleActs:], acts)
	return b, nil
}

// decode reads a struct devfs_rule and returns its number, too.
func decode(b []byte) (Rule, uint16) {
	var r Rule
	if native.Uint32(b[ruleCond:])&condPath != 0 {
		r.Path, _, _ = strings.Cut(string(b[rulePath:rulePath+rulePathSize]), "\x00")
	}
	acts := native.Uint32(b[ruleActs:])
	if acts&actBool != 0 {
		bits := native.Uint32(b[ruleBool:])
		r.Hide, r.Unhide = bits&boolHide != 0, bits&boolUnhide != 0
	}
	if acts&(actUID|actGID) != 0 {
		r.Owner = &Owner{native.Uint32(b[ruleUID:]), native.Uint32(b[ruleGID:])}
	}
	if acts&actMode != 0 {
		r.Mode = fs.FileMode(native.Uint16(b[ruleMode:])) & fs.ModePerm
	}
	if acts&actInclude != 0 {
		r.Include = native.Uint16(b[ruleInclude:])
	}
	return r, uint16(native.Uint32(b[ruleID:]))
}
