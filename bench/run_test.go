package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkRunTrue is one whole run of a static /bin/true, from the start of
// the command to its exit: by xc's client and daemon with an existing image,
// and by the OCI runtimes with a prepared bundle.
func BenchmarkRunTrue(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("containers need root")
	}
	dir := b.TempDir()
	b.Run("xc", func(b *testing.B) {
		xc := startDaemon(b, dir)
		for b.Loop() {
			command(b, xc, "run", "--rm", "true", "/bin/true")
		}
	})
	bundle := makeBundle(b, dir)
	for _, runtime := range []string{"crun", "runc"} {
		b.Run(runtime, func(b *testing.B) {
			path, err := exec.LookPath(runtime)
			if err != nil {
				b.Skip(runtime, " is not installed")
			}
			n := 0
			probe := exec.Command(path, "run", "--bundle", bundle, fmt.Sprintf("xcbench%d", os.Getpid()))
			if out, err := probe.CombinedOutput(); err != nil {
				b.Skipf("%s does not run here: %s", runtime, out) // crun 1.8 on hybrid cgroups
			}
			for b.Loop() {
				n++
				command(b, path, "run", "--bundle", bundle, fmt.Sprintf("xcbench%d-%d", os.Getpid(), n))
			}
		})
	}
}

func command(b testing.TB, name string, args ...string) {
	b.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		b.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// startDaemon builds the programs, starts xcd on a directory of its own and
// imports the image "true". It returns the path of xc.
func startDaemon(b testing.TB, dir string) string {
	b.Helper()
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", bin+"/", "./xc", "./xcd", "./cmd/xc-runloop", "./ocitar/cmd/ocitar")
	build.Dir = ".." // the programs' own module
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v: %s", err, out)
	}
	run, err := os.MkdirTemp("", "xcb")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(run) })
	b.Setenv("XC_SOCKET", filepath.Join(run, "s"))
	daemon := exec.Command(filepath.Join(bin, "xcd"), "--state-dir", filepath.Join(dir, "state"), "--run-dir", run)
	var log strings.Builder
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		daemon.Process.Signal(os.Interrupt) //nolint:errcheck // Wait tells
		if err := daemon.Wait(); err != nil {
			b.Errorf("xcd: %v: %s", err, log.String())
		}
	})
	xc := filepath.Join(bin, "xc")
	for exec.Command(xc, "version").Run() != nil {
		if daemon.ProcessState != nil {
			b.Fatal("xcd has ended: ", log.String())
		}
	}
	root := makeRoot(b, dir)
	layer := filepath.Join(dir, "true.tar")
	command(b, "tar", "-C", root, "-cf", layer, ".")
	command(b, xc, "import", layer, "true")
	return xc
}

// makeRoot is a root with a static true in it.
func makeRoot(b testing.TB, dir string) string {
	b.Helper()
	root := filepath.Join(dir, "bundle", "rootfs")
	if _, err := os.Stat(root); err == nil {
		return root
	}
	for _, d := range []string{"bin", "dev", "proc", "sys", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	command(b, "cp", "/bin/busybox", filepath.Join(root, "bin/true"))
	return root
}

// makeBundle is an OCI bundle as `runc spec` makes it, for /bin/true without a
// terminal.
func makeBundle(b testing.TB, dir string) string {
	b.Helper()
	makeRoot(b, dir)
	bundle := filepath.Join(dir, "bundle")
	path := filepath.Join(bundle, "config.json")
	if _, err := os.Stat(path); err == nil {
		return bundle
	}
	spec := exec.Command("runc", "spec")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		b.Skipf("runc spec: %v: %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		b.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = []string{"/bin/true"}
	delete(process, "rlimits") // raising a hard limit needs CAP_SYS_RESOURCE
	config["root"].(map[string]any)["readonly"] = false
	text, err = json.Marshal(config)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return bundle
}
