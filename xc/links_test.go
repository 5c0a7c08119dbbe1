package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestLinksLittle: each command pays, at each start, for the initialisation of all
// packages that are linked for any of them. GODEBUG=inittrace=1 xc version shows what
// they cost.
func TestLinksLittle(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	const ours = "github.com/joyboyid/xc/"
	may := []string{ours + "xc", ours + "engine/api", ours + "ipc", ours + "internal/outfile", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys/unix", "golang.org/x/term"}
	heavy := map[string]string{
		"net/http":      "it is xcd that talks to registries",
		"crypto/tls":    "it is xcd that talks to registries",
		"html/template": "text/template is here already: cobra brings it",
		"encoding/gob":  "it registers its types at the start",
	}
	for _, goos := range []string{"linux", "freebsd"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{.Standard}}", ".")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0", "GOPROXY=off")
		out, err := cmd.Output()
		if err != nil && os.Geteuid() != 0 {
			t.Skipf("needs the modules that xc links, for this user: go list: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			pkg, standard, _ := strings.Cut(strings.TrimSpace(line), " ")
			if why, ok := heavy[pkg]; ok {
				t.Errorf("on %s xc links %s: %s", goos, pkg, why)
			}
			if standard != "true" && !slices.ContainsFunc(may, func(m string) bool { return pkg == m || m == ours+"xc" && strings.HasPrefix(pkg, m+"/") }) {
				t.Errorf("on %s xc links %s: is it worth its initialisation in each command?", goos, pkg)
			}
		}
	}
}
