package zfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

func collect(t *testing.T, in string) ([]Change, error) {
	t.Helper()
	var cs []Change
	for c, err := range parseDiff(strings.NewReader(in)) {
		if err != nil {
			return cs, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

func TestParseDiff(t *testing.T) {
	in := "+\t/\t/tank/a/d\n" +
		"+\t@\t/tank/a/d/sym\n" +
		"M\t/\t/tank/a/\n" +
		"+\tF\t/tank/a/sp\\0040ace\n" +
		"+\tF\t/tank/a/nl\\0012x\n" +
		"+\tF\t/tank/a/\\0303\\0274n\\0303\\0257\n" +
		"M\tF\t/tank/a/d/f\t(-1)\n" +
		"M\tF\t/tank/a/d/g\t(+2)\n" +
		"-\tF\t/tank/a/\t(on_delete_queue)\n" +
		"R\tF\t/tank/a/b\\0134s\t/tank/a/t\\0011b\n" +
		"-\t|\t/tank/a/fifo\n"
	want := []Change{
		{Kind: '+', Type: '/', Path: "/tank/a/d"},
		{Kind: '+', Type: '@', Path: "/tank/a/d/sym"},
		{Kind: 'M', Type: '/', Path: "/tank/a/"},
		{Kind: '+', Type: 'F', Path: "/tank/a/sp ace"},
		{Kind: '+', Type: 'F', Path: "/tank/a/nl\nx"},
		{Kind: '+', Type: 'F', Path: "/tank/a/ünï"},
		{Kind: 'M', Type: 'F', Path: "/tank/a/d/f", Links: -1},
		{Kind: 'M', Type: 'F', Path: "/tank/a/d/g", Links: 2},
		{Kind: 'R', Type: 'F', Path: `/tank/a/b\s`, To: "/tank/a/t\tb"},
		{Kind: '-', Type: '|', Path: "/tank/a/fifo"},
	}
	got, err := collect(t, in)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	for _, bad := range []string{
		"+\n", "X\tF\t/a\n", "R\tF\t/a\n", "+\tF\t/a\t/b\n", "M\tF\t/a\t(x)\n",
		"+\tF\t/a\\00\n", "+\tF\t/a\\0999\n", "+\tF\t/a\\0777\n", "++\tF\t/a\n", strings.Repeat("x", maxDiffLine+1),
	} {
		if cs, err := collect(t, bad); err == nil {
			t.Errorf("%.20q became %v", bad, cs)
		}
	}
}

func TestDiff(t *testing.T) {
	s := &script{answers: map[string]string{
		"diff -FH t/a@1 t/a@2": "+\tF\t/t/a/x\n+\tF\t/t/a/y\n",
		"diff -FH t/a@1 t/b":   "!cannot open 't/b': dataset does not exist",
	}}
	z := &ZFS{Run: s.run}
	n := 0
	for c, err := range z.Diff(context.Background(), "t/a@1", "t/a@2") {
		if n++; err != nil || c.Path != "/t/a/x" {
			t.Errorf("%v, %v", c, err)
		}
		break // and the command ends all the same
	}
	for _, err := range z.Diff(context.Background(), "t/a@1", "t/b") {
		if n++; !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	for _, err := range z.Diff(context.Background(), "t/a", "t/b") {
		if n++; err == nil {
			t.Error("a diff from a file system was accepted")
		}
	}
	if n != 3 {
		t.Errorf("%d answers", n)
	}
}

func FuzzParseChange(f *testing.F) {
	for _, s := range []string{"+\tF\t/a\\0040b", "R\tF\t/a\t/b", "M\tF\t/a\t(+1)", "-\t/\t/\\0303\\0274"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseChange(line)
		if err != nil || strings.ContainsAny(line, " ") {
			return
		}
		if again, err := parseChange(show(c)); err != nil || again != c {
			t.Errorf("%q: %+v became %+v, %v", line, c, again, err)
		}
	})
}

// show writes a change as zfs diff -FH does.
func show(c Change) string {
	s := fmt.Sprintf("%c\t%s\t%s", c.Kind, string([]byte{c.Type}), escape(c.Path))
	switch {
	case c.Kind == 'R':
		s += "\t" + escape(c.To)
	case c.Links != 0:
		s += fmt.Sprintf("\t(%+d)", c.Links)
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '\\' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%04o`, c)
		}
	}
	return b.String()
}
