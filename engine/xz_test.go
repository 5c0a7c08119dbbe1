package engine_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/engine/api"
)

// FreeBSD's base.txz is such an archive.
func TestIntegrationImportXz(t *testing.T) {
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("xz is not installed")
	}
	e := testEngine(t)
	root, err := rootTar()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(xz, "-1", "-c")
	cmd.Stdin = bytes.NewReader(root)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	importBytes := func(b []byte) (api.Image, error) {
		name := filepath.Join(t.TempDir(), "a.txz")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return e.ImportImage(t.Context(), api.ImportSpec{Name: "root", Archive: f, OSVersion: "14.3-RELEASE"})
	}
	for what, bad := range map[string][]byte{"cut": packed[:len(packed)/2], "spoiled": append(bytes.Clone(packed[:len(packed)-20]), make([]byte, 20)...)} {
		if _, err := importBytes(bad); err == nil || !strings.Contains(err.Error(), "xz") && !strings.Contains(err.Error(), "decompress") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := e.ListImages(t.Context(), api.ListImagesOptions{}); err != nil || len(list) != 0 {
		t.Errorf("an import that failed has left %+v, %v", list, err)
	}
	img, err := importBytes(packed)
	if err != nil || !strings.Contains(img.Platform, "(14.3-RELEASE)") {
		t.Fatalf("%+v, %v", img, err)
	}
	if out, exit := sh(t, e, api.ContainerSpec{Image: "root"}, "echo $((6*7))"); out != "42\n" || exit.Code != 0 {
		t.Errorf("%q %+v", out, exit)
	}
}
