package control_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/control"
)

// spoken describes the protocol as it is: its methods, and the fields of everything
// that is sent, a line each.
func spoken(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, m := range control.ControlMethods() {
		lines = append(lines, "method "+m)
	}
	for _, file := range []string{"control.go", "control_ipc.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip("the source is not here: ", err) // in a VM
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, s := range d.Specs {
					lines = append(lines, fields(t, s.(*ast.TypeSpec))...)
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// fields lists those of a struct that are sent: TYPE.NAME GO-TYPE [omitempty|omitzero].
func fields(t *testing.T, s *ast.TypeSpec) []string {
	t.Helper()
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return nil
	}
	var lines []string
	for _, f := range st.Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		name, option, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s.%s %s %s", s.Name.Name, name, types.ExprString(f.Type), option)))
	}
	return lines
}

// recorded are the lines of a version's file, nil if there is none.
func recorded(t *testing.T, version int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("testdata/version%d.txt", version))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// Run loops of every version that was ever released may be running: what they were
// asked by their engine they are asked by this one, in the same form. What is new is
// left out when it is not used, as they would refuse it.
func TestProtocolOnlyGrows(t *testing.T) {
	now := spoken(t)
	var all []string
	for v := 1; v <= control.Version; v++ {
		lines := recorded(t, v)
		if lines == nil {
			t.Fatalf("testdata/version%d.txt is missing", v)
		}
		for _, line := range lines {
			if !slices.Contains(now, line) {
				t.Errorf("run loops of version %d have %q, which is gone or has changed", v, line)
			}
			owner, _, _ := strings.Cut(line, ".")
			old := slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, owner+".") })
			called := strings.HasPrefix(line, "method ") // only by who uses it
			answer := strings.HasSuffix(owner, "Out") || owner == "Exit" || owner == "State"
			if old && !called && !answer && !strings.HasSuffix(line, " omitempty") && !strings.HasSuffix(line, " omitzero") {
				t.Errorf("%q is new in version %d and always sent: older run loops refuse it", line, v)
			}
		}
		all = append(all, lines...)
	}
	for _, line := range now {
		if !slices.Contains(all, line) {
			t.Errorf("%q is new: put it into testdata/version%d.txt and raise Version", line, control.Version+1)
		}
	}
	if recorded(t, control.Version+1) != nil {
		t.Errorf("version %d is recorded, and Version is %d", control.Version+1, control.Version)
	}
}

func TestUnknown(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                                   false,
		ipc.NoMethod("Control.New"):           true,
		&ipc.Error{Code: ipc.CodeNoField}:     true,
		&ipc.Error{Code: ipc.CodeUnsupported}: false, // of what the run loop does
		control.ErrNotRunning:                 false,
	} {
		if got := control.Unknown(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
		if wrapped := fmt.Errorf("exec: %w", err); err != nil && control.Unknown(wrapped) != want {
			t.Errorf("%v, wrapped", err)
		}
	}
}
