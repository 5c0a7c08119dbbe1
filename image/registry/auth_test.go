package registry_test

import (
	"encoding/base64"
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

const basic = "Basic dXNlcjpwYXNz" // user:pass

// dockerConfig writes a config.json that knows the server.
func dockerConfig(t *testing.T, s *server, userPass string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host(), base64.StdEncoding.EncodeToString([]byte(userPass)))
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func login(t *testing.T, p *registry.Puller, path string) {
	t.Helper()
	credentials, err := registry.DockerCredentials(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Client.Credentials = credentials
}

// onlyBasic refuses who does not come with the right name and password.
func onlyBasic(w http.ResponseWriter, r *http.Request, _ string, _ int) bool {
	if r.Header.Get("Authorization") == basic {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	return status(401)(w)
}

func TestBasicAuthorization(t *testing.T) {
	for user, allowed := range map[string]bool{"user:pass": true, "user:wrong": false, "": false} {
		s := newServer(t)
		s.push(t, "x", "latest", imagetest.NewImage(t, amd64, layer(t, "l", 1000)))
		s.spoil = onlyBasic
		p, _ := newPuller(t)
		if user != "" {
			login(t, p, dockerConfig(t, s, user))
		}
		_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
		if allowed && err != nil || !allowed && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q: %v", user, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("the password is in: %v", err)
		}
	}
}

// Tokens come from elsewhere, for a scope, and expire in the middle of a pull.
func TestBearerAuthorization(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 1000)
	s.push(t, "a/x", "latest", imagetest.NewImage(t, amd64, l))
	tokens := 0
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
		if r.URL.Path == "/token" {
			if r.Header.Get("Authorization") != basic || r.URL.Query().Get("scope") != "repository:a/x:pull" {
				return status(401)(w)
			}
			s.mu.Lock()
			tokens++
			_, err := fmt.Fprintf(w, `{"token":"t%d"}`, tokens)
			s.mu.Unlock()
			return err == nil
		}
		s.mu.Lock()
		current := fmt.Sprintf("Bearer t%d", tokens)
		s.mu.Unlock()
		if tokens > 0 && r.Header.Get("Authorization") == current && (object != l.Digest.String() || n > 1) {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:a/x:pull"`, s.URL))
		return status(401)(w)
	}
	p, _ := newPuller(t)
	login(t, p, dockerConfig(t, s, "user:pass"))
	if _, err := p.Pull(t.Context(), s.ref(t, "a/x"), options()); err != nil {
		t.Fatal(err)
	}
	if tokens != 2 {
		t.Errorf("%d tokens were fetched, want a second one for the layer", tokens)
	}
	sound(t, p.Images)
}

// A redirect to where the blobs are must carry the range, not the password.
func TestRedirectedBlob(t *testing.T) {
	l := layer(t, "l", 1<<20)
	cdn := newServer(t)
	cdn.push(t, "x", "latest", imagetest.NewImage(t, amd64, l))
	s := newServer(t)
	s.push(t, "x", "latest", imagetest.NewImage(t, amd64, l))
	leaked := false
	cdn.spoil = func(w http.ResponseWriter, r *http.Request, _ string, n int) bool {
		leaked = leaked || r.Header.Get("Authorization") != ""
		return n == 1 && cut(w, l.Blob, 1000)
	}
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, _ int) bool {
		if r.Header.Get("Authorization") != basic {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			return status(401)(w)
		}
		if object != l.Digest.String() {
			return false
		}
		http.Redirect(w, r, cdn.URL+r.URL.Path+"?signature=secret", http.StatusTemporaryRedirect)
		return true
	}
	p, _ := newPuller(t)
	login(t, p, dockerConfig(t, s, "user:pass"))
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
		t.Fatal(err)
	}
	if leaked {
		t.Error("the password went to the other host")
	}
	if len(cdn.ranges) != 1 || cdn.ranges[0] != fmt.Sprintf("bytes=1000-%d", l.Size-1) {
		t.Errorf("ranges: %v", cdn.ranges)
	}
}

func TestDockerCredentials(t *testing.T) {
	if _, err := registry.DockerCredentials(filepath.Join(t.TempDir(), "absent")); err != nil {
		t.Errorf("absent: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.DockerCredentials(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("malformed: %v", err)
	}
}

// A client remembers what has let it in, until it is told to forget.
func TestForget(t *testing.T) {
	s := newServer(t)
	s.push(t, "x", "latest", imagetest.NewImage(t, amd64, layer(t, "l", 1000)))
	s.spoil = onlyBasic
	p, _ := newPuller(t)
	path := dockerConfig(t, s, "user:pass")
	login(t, p, path)
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
		t.Fatal(err)
	}
	if err := (registry.Credentials{Path: path}).Delete(t.Context(), s.host()); err != nil {
		t.Fatal(err)
	}
	if err := p.Client.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("after the logout: %v", err)
	}
}
