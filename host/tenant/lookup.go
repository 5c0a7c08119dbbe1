package tenant

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/inroot"
	"golang.org/x/sys/unix"
)

// target is a process as it will be executed: what was names is looked up.
type target struct {
	path     string
	args     []string
	env      []string
	dir      string
	uid, gid int
	groups   []int
}

// accountFile is how much of /etc/passwd and /etc/group is read, in bytes.
const accountFile = 4 << 20

// defaultPath is where programs are looked for when the environment has no
// PATH; as Docker has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookup resolves the names of a process inside root.
func lookup(root *inroot.Root, args, env []string, dir, user string) (*target, error) {
	if len(args) == 0 {
		return nil, &Error{Op: "start", Object: "process without arguments", Errno: syscall.EINVAL}
	}
	if err := noNUL(args, env, []string{dir}); err != nil {
		return nil, err
	}
	t := &target{args: args, env: env, dir: dir}
	if t.dir == "" {
		t.dir = "/"
	}
	if err := directory(root, t.dir); err != nil {
		return nil, newError("working directory", t.dir, err)
	}
	acc, err := account(root, user)
	if err != nil {
		return nil, err
	}
	t.uid, t.gid, t.groups = acc.uid, acc.gid, acc.groups
	if _, ok := getenv(env, "HOME"); !ok {
		t.env = append(slices.Clip(env), "HOME="+acc.home)
	}
	path, ok := getenv(env, "PATH")
	if !ok {
		path = defaultPath
	}
	if t.path, err = root.LookPath(args[0], path, t.dir); err != nil {
		return nil, newError("exec", args[0], err)
	}
	return t, nil
}

func noNUL(lists ...[]string) error {
	for _, l := range lists {
		for _, s := range l {
			if strings.IndexByte(s, 0) >= 0 {
				return &Error{Op: "start", Object: strconv.Quote(s), Errno: syscall.EINVAL}
			}
		}
	}
	return nil
}

func directory(root *inroot.Root, name string) error {
	if !strings.HasPrefix(name, "/") {
		return syscall.EINVAL
	}
	st, err := root.Stat(name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return syscall.ENOTDIR
	}
	return nil
}

// getenv returns the value of the last entry for key, as execve'd programs see it.
func getenv(env []string, key string) (string, bool) {
	for _, kv := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v, true
		}
	}
	return "", false
}

// identity is who a process runs as.
type identity struct {
	uid, gid int
	groups   []int // supplementary, gid first
	home     string
}

// account resolves name|uid[:group|gid] by the root's /etc/passwd and
// /etc/group. As with Docker a number need not be in them, and supplementary
// groups are those of the user only where no group is named.
func account(root *inroot.Root, spec string) (identity, error) {
	user, group, hasGroup := strings.Cut(spec, ":")
	if user == "" {
		user = "0"
	}
	passwd, err := readAccounts(root, "/etc/passwd")
	if err != nil {
		return identity{}, err
	}
	id, name, err := findUser(passwd, user)
	if err != nil {
		return identity{}, err
	}
	groups, err := readAccounts(root, "/etc/group")
	if err != nil {
		return identity{}, err
	}
	var more []int
	if !hasGroup || group == "" {
		more = memberships(groups, name)
	} else if id.gid, err = findGroup(groups, group); err != nil {
		return identity{}, err
	}
	// The group itself first, as FreeBSD before 15 needs it (setgroups(2)). It is
	// among the supplementary ones lest a setgid program drop it, and with it what a
	// file denies to the group (CVE-2022-36109).
	id.groups = append(id.groups, id.gid)
	for _, g := range more {
		if g != id.gid {
			id.groups = append(id.groups, g)
		}
	}
	return id, nil
}

// readAccounts reads one of the files; one that is missing is empty.
func readAccounts(root *inroot.Root, name string) (string, error) {
	b, err := root.ReadFile(name, accountFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", newError("read", name, err)
	}
	return string(b), nil
}

// maxID is the largest user or group id; (uid_t)-1 means "no change" to
// setresuid(2), and Docker stops at the same number.
const maxID = 1<<31 - 1

func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n <= maxID && s[0] != '+'
}

// findUser returns the user with this name or number, and the name.
func findUser(passwd, user string) (identity, string, error) {
	n, numeric := number(user)
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":") // name:password:uid:gid:gecos:home:shell; passwd(5)
		if len(f) < 4 || f[0] == "" {
			continue
		}
		uid, ok := number(f[2])
		if !ok || f[0] != user && (!numeric || uid != n) {
			continue
		}
		gid, ok := number(f[3])
		if !ok {
			continue
		}
		id := identity{uid: uid, gid: gid, home: "/"}
		if len(f) > 5 && f[5] != "" {
			id.home = f[5]
		}
		return id, f[0], nil
	}
	if numeric {
		return identity{uid: n, home: "/"}, "", nil
	}
	return identity{}, "", &Error{Op: "user", Object: user, Errno: syscall.ENOENT}
}

// findGroup returns the id of the group with this name or number.
func findGroup(groups, group string) (int, error) {
	for line := range strings.Lines(groups) {
		f := strings.Split(strings.TrimSpace(line), ":") // name:password:gid:members; group(5)
		if len(f) < 3 || f[0] != group {
			continue
		}
		if gid, ok := number(f[2]); ok {
			return gid, nil
		}
	}
	if gid, ok := number(group); ok {
		return gid, nil
	}
	return 0, &Error{Op: "group", Object: group, Errno: syscall.ENOENT}
}

// maxGroups is what setgroups(2) takes on FreeBSD (kern.ngroups); Linux takes more.
const maxGroups = 1023

// memberships returns the ids of the groups that list the user.
func memberships(groups, user string) []int {
	var out []int
	if user == "" {
		return nil
	}
	for line := range strings.Lines(groups) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), user) {
			continue
		}
		if gid, ok := number(f[2]); ok && !slices.Contains(out, gid) && len(out) < maxGroups {
			out = append(out, gid)
		}
	}
	return out
}
