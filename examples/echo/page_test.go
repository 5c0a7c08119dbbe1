package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const page = "../../docs/ipc.md"

// blocks returns the fenced blocks of a page that are in a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Skip("the page is not here: ", err) // where only the package was taken to
	}
	var list []string
	for _, part := range strings.Split(string(b), "\n```"+language+"\n")[1:] {
		text, _, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatal("a block without an end")
		}
		list = append(list, text)
	}
	return list
}

// The program that the page has its reader write is this one.
func TestPageHasTheProgram(t *testing.T) {
	want, err := os.ReadFile("main.go")
	if err != nil {
		t.Skip("the source is not here: ", err)
	}
	if got := blocks(t, "go")[0]; got != string(want) {
		t.Errorf("%s does not show examples/echo/main.go:\n%s", page, got)
	}
}

// Who does what the page says, in an empty folder outside of the repository, gets
// what it says. The module is the one of this tree.
func TestPageByHand(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the page begins with the go command: ", err)
	}
	steps, said := blocks(t, "sh"), blocks(t, "text")
	if len(steps) != 4 || len(said) != 1 {
		t.Fatalf("%d blocks of commands and %d of output", len(steps), len(said))
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path, dir := socket(t), t.TempDir()
	sh := func(script string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(script, "/tmp/echo.sock", path))
		cmd.Dir = dir
		// What the module needs is in the cache, for this test was built.
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GONOSUMDB=*", "GOWORK=off")
		return cmd
	}
	do := func(script string) string {
		t.Helper()
		out, err := sh(script).CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", script, err, out)
		}
		return string(out)
	}
	get := strings.Replace(steps[0], "go get ", "go mod edit -replace github.com/joyboyid/xc="+repo+"\ngo get ", 1)
	if get == steps[0] {
		t.Fatal("the first step gets nothing")
	}
	do(get)
	dir = filepath.Join(dir, "echo")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(blocks(t, "go")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	do(steps[1])
	daemon := sh("exec " + steps[2])
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, path)
	if got := do(steps[3]); got != said[0] {
		t.Errorf("it says %q, the page %q", got, said[0])
	}
	if err := daemon.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
}
