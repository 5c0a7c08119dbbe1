package zfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// script is a zfs(8) that writes down what it was told and answers from a table.
type script struct {
	lines   []string
	answers map[string]string // by command line; a failure begins with "!"
}

func (s *script) run(_ context.Context, _ io.Reader, stdout io.Writer, args ...string) error {
	line := strings.Join(args, " ")
	s.lines = append(s.lines, line)
	answer := s.answers[line]
	if text, bad := strings.CutPrefix(answer, "!"); bad {
		return &said{text, errors.New("exit status 1")}
	}
	if stdout != nil {
		_, err := io.WriteString(stdout, answer)
		return err
	}
	return nil
}

func TestCommandLines(t *testing.T) {
	ctx := context.Background()
	s := &script{answers: map[string]string{
		"get -Hp -o property,value mounted tank/c":             "mounted\tno\n",
		"list -Hp -o " + listColumns + " -d 0 -t all tank/a@s": "tank/a@s\tsnapshot\t1\t-\t2\t-\t3\t4\n",
	}}
	z := &ZFS{Run: s.run}
	err := errors.Join(
		z.Create(ctx, "tank/a", Props{"quota": "1", "mountpoint": "none"}),
		z.Snapshot(ctx, "tank/a@s"),
		z.Clone(ctx, "tank/a@s", "tank/c", nil),
		z.Clone(ctx, "tank/a@s", "tank/c", Props{"canmount": "on"}),
		z.Set(ctx, "tank/c", Props{"readonly": "on", "atime": "off"}),
		z.Rename(ctx, "tank/c", "tank/d"),
		z.Rename(ctx, "tank/d@a", "tank/d@b"),
		z.Rollback(ctx, "tank/a@s"),
		z.Send(ctx, io.Discard, "tank/a@t", "tank/a@s"),
		z.Receive(ctx, strings.NewReader(""), "tank/r"),
		z.Jail(ctx, 7, "tank/j"),
		z.Unjail(ctx, 7, "tank/j"),
		z.Destroy(ctx, "tank/c"),
		z.Destroy(ctx, "tank/a@s"),
		z.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := `create -u -o mountpoint=none -o quota=1 tank/a
snapshot tank/a@s
clone -o canmount=noauto tank/a@s tank/c
clone -o canmount=on tank/a@s tank/c
set atime=off readonly=on tank/c
rename -u tank/c tank/d
rename tank/d@a tank/d@b
rollback tank/a@s
send -i tank/a@s tank/a@t
receive -u tank/r
jail 7 tank/j
unjail 7 tank/j
get -Hp -o property,value mounted tank/c
destroy tank/c
list -Hp -o ` + listColumns + ` -d 0 -t all tank/a@s
destroy tank/a@s`
	if got := strings.Join(s.lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Where the version of the ioctls is another, or none is told, zfs(8) is run.
func TestOtherVersion(t *testing.T) {
	dir := t.TempDir()
	lines := filepath.Join(dir, "lines")
	program := "#!/bin/sh\necho \"$@\" >>" + lines + "\ncase $1 in get) printf 'mounted\\tno\\n';; list) printf 'tank/a@s\\tsnapshot\\t1\\t-\\t2\\t-\\t3\\t4\\n';; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "zfs"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	ctx := t.Context()
	for name, version := range map[string]func() (uint32, error){
		"older": func() (uint32, error) { return ioctlVersion - 1, nil },
		"newer": func() (uint32, error) { return ioctlVersion + 1, nil },
		"none":  func() (uint32, error) { return ioctlVersion, syscall.ENOENT },
	} {
		z := &ZFS{version: version}
		if z.Native() {
			t.Errorf("%s: by ioctl", name)
		}
		_, err := z.Get(ctx, "tank/a@s")
		err = errors.Join(err, z.Create(ctx, "tank/a", nil), z.Snapshot(ctx, "tank/a@s"), z.Clone(ctx, "tank/a@s", "tank/c", nil),
			z.Destroy(ctx, "tank/c"), z.Destroy(ctx, "tank/a@s"), z.Close())
		got, readErr := os.ReadFile(lines)
		if err := errors.Join(err, readErr, os.Remove(lines)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		look := "list -Hp -o " + listColumns + " -d 0 -t all tank/a@s\n"
		want := look + "create -u tank/a\nsnapshot tank/a@s\nclone -o canmount=noauto tank/a@s tank/c\n" +
			"get -Hp -o property,value mounted tank/c\ndestroy tank/c\n" + look + "destroy tank/a@s\n"
		if string(got) != want {
			t.Errorf("%s: zfs(8) was given\n%swant\n%s", name, got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	for text, want := range map[string]error{
		"cannot create 'tank/a': dataset already exists":                                            fs.ErrExist,
		"cannot create 'tank/none/b': parent does not exist":                                        fs.ErrNotExist,
		"cannot open 'tank/none': dataset does not exist":                                           fs.ErrNotExist,
		"could not find any snapshots to destroy; check snapshot names.":                            fs.ErrNotExist,
		"cannot destroy 'tank/a@s1': snapshot has dependent clones\nuse '-R' to destroy\ntank/c":    syscall.EBUSY,
		"cannot destroy 'tank/c': filesystem has children\nuse '-r' to destroy the following\ntank": syscall.EBUSY,
		"cannot destroy 'tank/c': dataset is busy":                                                  syscall.EBUSY,
		"cannot create 'tank/a': permission denied":                                                 fs.ErrPermission,
		"cannot create 'tank/a': out of space":                                                      syscall.ENOSPC,
		"cannot set property for 'tank/c': invalid numeric suffix 'x'":                              nil,
	} {
		s := &script{answers: map[string]string{"set a=b tank/a": "!" + text}}
		err := (&ZFS{Run: s.run}).Set(context.Background(), "tank/a", Props{"a": "b"})
		var e *Error
		first, _, _ := strings.Cut(text, "\n")
		if !errors.As(err, &e) || e.Msg != first || want != nil && !errors.Is(err, want) || want == nil && e.Errno != 0 {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		op    string
		errno syscall.Errno
		done  bool
		want  error
	}{
		{"create", syscall.EEXIST, true, fs.ErrExist},
		{"create", syscall.ENOENT, true, fs.ErrNotExist},
		{"clone", syscall.ENOENT, true, fs.ErrNotExist},
		{"destroy", syscall.EBUSY, true, syscall.EBUSY},
		{"destroy", syscall.EEXIST, true, syscall.EBUSY},
		{"destroy", syscall.ENOENT, true, fs.ErrNotExist},
		{"snapshot", errCmdUnavail, false, nil},
		{"clone", errArgUnavail, false, nil},
		{"clone", 1040, true, syscall.Errno(1040)},
	} {
		done, err := verdict(c.op, "tank/a", c.errno)
		if done != c.done || !errors.Is(err, c.want) || !strings.HasPrefix(fmt.Sprint(err), map[bool]string{true: "zfs " + c.op + " tank/a: "}[done]) {
			t.Errorf("%+v: %v, %v", c, done, err)
		}
		if c.want == fs.ErrExist && errors.Is(err, syscall.EBUSY) {
			t.Errorf("%+v: also busy", c)
		}
	}
	if done, err := verdict("clone", "tank/a", nil); !done || err != nil {
		t.Errorf("success: %v, %v", done, err)
	}
}

func TestDestroyMounted(t *testing.T) {
	s := &script{answers: map[string]string{"get -Hp -o property,value mounted tank/c": "mounted\tyes\n"}}
	if err := (&ZFS{Run: s.run}).Destroy(context.Background(), "tank/c"); !errors.Is(err, syscall.EBUSY) || len(s.lines) != 1 {
		t.Errorf("%v after %q", err, s.lines)
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string][2]bool{ // as a file system, as a snapshot
		"tank": {true, false}, "tank/a b": {true, false}, "tank/a@s": {false, true}, "t/a.b-c_d:e@s%": {},
		"": {}, "-r": {}, "/tank": {}, "tank/": {}, "tank//a": {}, "tank/..": {}, "tank@": {}, "tank@a@b": {}, "1tank": {},
		"tank/" + strings.Repeat("n", 300): {}, "tank/a\x00": {}, "tank/ä": {}, "tank/a\n": {}, "tank@a/b": {},
	} {
		for i, snapshot := range []bool{false, true} {
			err := checkName("get", name, snapshot)
			if (err == nil) != want[i] || err != nil && !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%.20q, snapshot %v: %v", name, snapshot, err)
			}
		}
	}
}

func TestParseList(t *testing.T) {
	out := "tank\tfilesystem\t252928\t7801152512\t24576\t-\t1795434014\t17927881685288238505\n" +
		"tank/a@s1\tsnapshot\t22528\t-\t24576\t-\t1795434015\t3952155980590484231\n" +
		"tank/c\tfilesystem\t0\t7801152512\t26624\ttank/a@s1\t1795434016\t1\n"
	got, err := parseList([]byte(out))
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if d := got[0]; d.Name != "tank" || d.Type != FileSystem || d.Used != 252928 || d.Available != 7801152512 || d.GUID != 17927881685288238505 || d.Origin != "" {
		t.Errorf("pool: %+v", d)
	}
	if d := got[1]; d.Type != Snapshot || d.Available != 0 || d.Referenced != 24576 || d.Creation.Unix() != 1795434015 {
		t.Errorf("snapshot: %+v", d)
	}
	if d := got[2]; d.Origin != "tank/a@s1" {
		t.Errorf("clone: %+v", d)
	}
	for _, bad := range []string{"tank\n", "tank\tfilesystem\tx\t1\t1\t-\t1\t1\n"} {
		if _, err := parseList([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPropsEncode(t *testing.T) {
	got, ok := Props{"canmount": "noauto", "readonly": "on", "quota": "1024", "mountpoint": "none", "xc:id": "c1"}.encode()
	want := list{"canmount": uint64(2), "readonly": uint64(1), "quota": uint64(1024), "mountpoint": "none", "xc:id": "c1"}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, ok)
	}
	for _, p := range []Props{{"compression": "zstd"}, {"quota": "1G"}, {"readonly": "yes"}} {
		if l, ok := p.encode(); ok {
			t.Errorf("%v became %v", p, l)
		}
	}
	if p, err := parseProps([]byte("mounted\tyes\norigin\t-\n")); err != nil || !reflect.DeepEqual(p, Props{"mounted": "yes", "origin": "-"}) {
		t.Errorf("got %v, %v", p, err)
	}
}
