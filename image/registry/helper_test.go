package registry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

// credentialHelper puts a program in PATH that keeps logins in files of a
// directory, as docker-credential-helpers(7) do: docker-credential-xctest.
func credentialHelper(t *testing.T) (kept string) {
	t.Helper()
	bin, kept := t.TempDir(), t.TempDir()
	script := `#!/bin/sh
read -r in
case $1 in
store)
	server=${in#*\"ServerURL\":\"}
	echo "$in" >` + kept + `/"${server%%\"*}";;
get)
	cat ` + kept + `/"$in" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
erase)
	rm ` + kept + `/"$in";;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-xctest"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return kept
}

// Logins are kept in, and asked of, the helper that Docker's file names, for all
// registries or for one; the file itself then has none.
func TestCredentialHelpers(t *testing.T) {
	for name, config := range map[string]string{"for all": `{"credsStore":"xctest"}`, "for one": `{"credHelpers":{%q:"xctest"}}`} {
		t.Run(name, func(t *testing.T) {
			kept := credentialHelper(t)
			s := newServer(t)
			s.push(t, "x", "latest", imagetest.NewImage(t, amd64, layer(t, "l", 1000)))
			s.spoil = onlyBasic
			if strings.Contains(config, "%") {
				config = fmt.Sprintf(config, s.host())
			}
			credentials := registry.Credentials{Path: filepath.Join(t.TempDir(), "config.json")}
			if err := os.WriteFile(credentials.Path, []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			p, _ := newPuller(t)
			p.Client.Credentials = credentials.Get
			if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("before the login: %v", err)
			}
			if err := credentials.Put(t.Context(), s.host(), registry.Login{Username: "user", Password: "pass"}); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(kept, s.host())); err != nil || !strings.Contains(string(b), "pass") {
				t.Errorf("the helper was given %q, %v", b, err)
			}
			if b, err := os.ReadFile(credentials.Path); err != nil || strings.Contains(string(b), "dXNlcjpwYXNz") {
				t.Errorf("the file has %q, %v", b, err)
			}
			if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
				t.Error(err)
			}
			if err := credentials.Delete(t.Context(), s.host()); err != nil {
				t.Error(err)
			}
			if err := credentials.Delete(t.Context(), s.host()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("forgotten twice: %v", err)
			}
		})
	}
}

// What is wrong with a helper is told, with the file that names it.
func TestCredentialHelperFails(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-locked"), []byte("#!/bin/sh\necho the keychain is locked\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for helper, want := range map[string]string{"xcabsent": "docker-credential-xcabsent", "locked": "the keychain is locked"} {
		s := newServer(t)
		s.spoil = func(w http.ResponseWriter, _ *http.Request, _ string, _ int) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			return status(401)(w)
		}
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, fmt.Appendf(nil, `{"credsStore":%q}`, helper), 0o600); err != nil {
			t.Fatal(err)
		}
		p, _ := newPuller(t)
		p.Client.Credentials = registry.Credentials{Path: path}.Get
		_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", helper, err)
		}
	}
}
