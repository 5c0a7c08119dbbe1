package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are those that a reader of the repository finds. A test binary in a VM is
// there without them.
func documents(t *testing.T) map[string]string {
	t.Helper()
	if _, err := os.Stat("../go.mod"); err != nil {
		t.Skipf("needs the rest of the tree: %v", err)
	}
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, path := range append(paths, "../README.md", "../CONTRIBUTING.md") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(b)
	}
	return texts
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// What the documents point to is there, and the README leads to each of them.
func TestLinks(t *testing.T) {
	texts := documents(t)
	for path, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if m[1] == "…" {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if name := filepath.Base(path); filepath.Dir(path) == "../docs" && !strings.Contains(texts["../README.md"], "(docs/"+name+")") {
			t.Errorf("the README does not lead to docs/%s", name)
		}
	}
}

var program = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

// Whole programs in the documents compile. Who is not root has no cache of what was
// compiled, in CI, and would wait for minutes.
func TestIntegrationPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to compile them")
	}
	found := 0
	for path, text := range documents(t) {
		for i, m := range program.FindAllStringSubmatch(text, -1) {
			found++
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "vet", file)
			cmd.Dir = ".."
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Error(fmt.Errorf("%s, program %d: %w\n%s", path, i+1, err, out))
			}
		}
	}
	if found == 0 {
		t.Error("no program found: the README had one")
	}
}
