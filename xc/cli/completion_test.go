package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The script for bash completes without the package bash-completion: words that
// readline has broken at "=" and ":" are one.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	dir := t.TempDir()
	script := newFake(t).xc(t, "completion", "bash")
	if script.code != 0 {
		t.Fatal(script)
	}
	// An xc that says what it was asked, and answers with one word.
	const program = "#!/bin/sh\nprintf '%s|' \"$@\" >&3\necho alpine:3\necho :4\n"
	for name, text := range map[string]string{"script": script.out, "xc": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		line  string // the cursor is at its end, or where ^ is
		words string // as readline breaks them
		cword int
		want  string // what xc is asked | what is offered
	}{
		{"xc run al", "xc run al", 2, "__complete|run|al|>alpine:3"},
		{"xc run ", "xc run ''", 2, "__complete|run||>alpine:3"},
		{"xc run alpine:", "xc run alpine :", 3, "__complete|run|alpine:|>3"},
		{"xc run alpine:3", "xc run alpine : 3", 4, "__complete|run|alpine:3|>3"},
		{"xc run -e A=b al", "xc run -e A = b al", 6, "__complete|run|-e|A=b|al|>alpine:3"},
		{"xc run --pull= al", "xc run --pull = al", 4, "__complete|run|--pull=|al|>alpine:3"},
		{"xc run al^pine:3 x", "xc run alpine : 3 x", 2, "__complete|run|al|>alpine:3"},
		{"xc  run   al", "xc run al", 2, "__complete|run|al|>alpine:3"},
	} {
		before, after, _ := strings.Cut(c.line, "^")
		cmd := exec.Command(bash, "--norc", "--noprofile", "-c", fmt.Sprintf(`
compopt() { :; }
source ./script
COMP_LINE=%q COMP_POINT=%d COMP_WORDS=(%s) COMP_CWORD=%d COMP_TYPE=9
__start_xc 3>asked
printf '%%s>%%s' "$(<asked)" "${COMPREPLY[*]}"`, before+after, len(before), c.words, c.cword))
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != c.want {
			t.Errorf("%q: %q, %v; want %q", c.line, out, err, c.want)
		}
	}
}
