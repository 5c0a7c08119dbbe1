package tenant

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/inroot"
)

const (
	passwdText = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nann:x:1000:1001::/home/ann:/bin/sh\nbare:x:5:6\nbad:x:y:z::/:\nbig:x:4294967295:0::/:\n7:x:70:71::/seven:\n"
	groupText  = "root:x:0:\nwheel:x:10:root,ann\nops:x:20:ann\nagain:x:20:ann\nann:x:1001:\nbad:x:q:ann\n33:x:330:\n"
)

func accounts(t testing.TB, passwd, group string) *inroot.Root {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(passwd), 0o644),
		os.WriteFile(filepath.Join(dir, "etc/group"), []byte(group), 0o644)); err != nil {
		t.Fatal(err)
	}
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestAccount(t *testing.T) {
	r := accounts(t, passwdText, groupText)
	for spec, want := range map[string]identity{
		"":             {0, 0, []int{0}, "/root"},
		"0":            {0, 0, []int{0, 10}, "/root"},
		"root":         {0, 0, []int{0, 10}, "/root"},
		"ann":          {1000, 1001, []int{1001, 10, 20}, "/home/ann"},
		"1000":         {1000, 1001, []int{1001, 10, 20}, "/home/ann"},
		"ann:":         {1000, 1001, []int{1001, 10, 20}, "/home/ann"},
		"ann:ops":      {1000, 20, []int{20}, "/home/ann"},
		"ann:77":       {1000, 77, []int{77}, "/home/ann"},
		":ops":         {0, 20, []int{20}, "/root"},
		"bare":         {5, 6, []int{6}, "/"},
		"7":            {70, 71, []int{71}, "/seven"}, // a name of digits is a name
		"8:33":         {8, 330, []int{330}, "/"},
		"8:34":         {8, 34, []int{34}, "/"},
		"2147483647:0": {1<<31 - 1, 0, []int{0}, "/"},
	} {
		if spec == "" {
			want.groups = []int{0, 10}
		}
		got, err := account(r, spec)
		if err != nil || got.uid != want.uid || got.gid != want.gid || got.home != want.home || !slices.Equal(got.groups, want.groups) {
			t.Errorf("%q: %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"nobody", "bad", "big", "ann:none", "ann:bad", "4294967295", "2147483648", "-1", "+5", "0:-1", " ", "a:b:c"} {
		got, err := account(r, spec)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %+v, %v; want fs.ErrNotExist", spec, got, err)
		}
	}
}

func TestAccountFiles(t *testing.T) {
	empty := t.TempDir()
	r, err := inroot.Open(empty)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if id, err := account(r, "12:13"); err != nil || id.uid != 12 || id.gid != 13 {
		t.Errorf("numbers in a root without /etc: %+v, %v", id, err)
	}
	if _, err := account(r, "root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name in a root without /etc: %v", err)
	}
	if err := errors.Join(os.Mkdir(empty+"/etc", 0o755), syscall.Mkfifo(empty+"/etc/passwd", 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := account(r, "12"); err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
		t.Errorf("a fifo for /etc/passwd: %v", err)
	}
	// Who the host knows is nobody here, wherever the root's links point.
	led := accounts(t, "", "")
	for _, name := range []string{"passwd", "group"} {
		link := filepath.Join(led.Name(), "etc", name)
		if err := errors.Join(os.Remove(link), os.Symlink("/../../../../../../etc/"+name, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, spec := range []string{"daemon", "0:daemon"} {
		if id, err := account(led, spec); err == nil {
			t.Errorf("%s by links to the host's files: %+v", spec, id)
		}
	}
	big := accounts(t, strings.Repeat("x", accountFile+1), "")
	if _, err := account(big, "12"); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("a huge /etc/passwd: %v", err)
	}
}

func TestLookup(t *testing.T) {
	r := accounts(t, passwdText, groupText)
	dir := r.Name()
	if err := errors.Join(os.MkdirAll(dir+"/usr/bin", 0o755), os.MkdirAll(dir+"/opt", 0o755),
		os.WriteFile(dir+"/usr/bin/tool", nil, 0o755), os.WriteFile(dir+"/opt/tool", nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, env []string
		dir, path string
	}{
		{[]string{"tool"}, nil, "", "/usr/bin/tool"},
		{[]string{"tool"}, []string{"PATH=/bin:/opt:/usr/bin"}, "", "/opt/tool"},
		{[]string{"tool"}, []string{"PATH=/nope", "PATH=/opt"}, "", "/opt/tool"},
		{[]string{"/usr/bin/tool"}, []string{"PATH="}, "", "/usr/bin/tool"},
		{[]string{"bin/tool"}, nil, "/usr", "/usr/bin/tool"},
	} {
		to, err := lookup(r, tt.args, tt.env, tt.dir, "ann")
		if err != nil || filepath.Clean(to.path) != tt.path {
			t.Errorf("%v: %+v, %v; want %s", tt, to, err, tt.path)
			continue
		}
		if home, _ := getenv(to.env, "HOME"); home != "/home/ann" {
			t.Errorf("HOME=%s", home)
		}
	}
	to, err := lookup(r, []string{"tool"}, []string{"HOME="}, "", "")
	if err != nil || !slices.Equal(to.env, []string{"HOME="}) {
		t.Errorf("an empty HOME: %v, %v", to, err)
	}
}

func TestErrorKinds(t *testing.T) {
	for _, tt := range []struct {
		err              *Error
		missing, refused bool
	}{
		{&Error{Op: "exec", Object: "/x", Errno: syscall.ENOENT}, true, false},
		{&Error{Op: "exec", Object: "/x", Errno: syscall.EACCES}, false, true},
		{&Error{Op: "exec", Object: "/x", Errno: syscall.ENOEXEC}, false, true},
		{&Error{Op: "mount", Object: "/x", Errno: syscall.EINVAL}, false, false},
		{newError("exec", "x", fs.ErrNotExist), true, false},
		{newError("exec", "x", &fs.PathError{Op: "exec", Path: "x", Err: fs.ErrPermission}), false, true},
		{newError("exec", "x", errors.New("strange")), false, false},
	} {
		if errors.Is(tt.err, fs.ErrNotExist) != tt.missing || errors.Is(tt.err, fs.ErrPermission) != tt.refused {
			t.Errorf("%v: not exist %v, permission %v", tt.err, !tt.missing, !tt.refused)
		}
	}
}

func TestParse(t *testing.T) {
	for in, says := range map[string]string{
		`{"id": "a"}`:              "",
		`{"id": "a", "colour": 1}`: "colour",
		`{"id": 5}`:                "id",
		`[`:                        "EOF",
	} {
		_, err := parse([]byte(in))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzAccount(f *testing.F) {
	f.Add(passwdText, groupText, "ann:ops")
	f.Add(":::\n::0:\nx:x:0", "g:x:0:,,", "x")
	f.Add("", "", "0:0")
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		user, grp, _ := strings.Cut(spec, ":")
		if user == "" || grp == "" {
			return
		}
		id, name, err := findUser(passwd, user)
		if err == nil && (id.uid < 0 || id.uid > maxID || id.gid < 0 || id.gid > maxID || id.home == "") {
			t.Errorf("findUser(%q) = %+v", user, id)
		}
		if gid, err := findGroup(group, grp); err == nil && (gid < 0 || gid > maxID) {
			t.Errorf("findGroup(%q) = %d", grp, gid)
		}
		for _, g := range memberships(group, name) {
			if g < 0 || g > maxID {
				t.Errorf("memberships(%q): %d", name, g)
			}
		}
	})
}
