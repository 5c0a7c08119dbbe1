package registry_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

// A registry at an address of IPv6: names, logins, pulls, pushes and mirrors.
func TestIPv6Registry(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	s := newServer(t)
	six := httptest.NewUnstartedServer(s)
	if err := six.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	six.Listener = l
	six.Start()
	t.Cleanup(six.Close)
	s.Server = six
	s.spoil = func(w http.ResponseWriter, r *http.Request, _ string, _ int) bool {
		if r.Header.Get("Authorization") == basic {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		return status(401)(w)
	}
	if !strings.HasPrefix(s.host(), "[::1]:") {
		t.Fatal(s.host())
	}
	m, img := imported(t, amd64, 1000)
	credentials, err := registry.DockerCredentials(dockerConfig(t, s, "user:pass"))
	if err != nil {
		t.Fatal(err)
	}
	client := &registry.Client{Retry: patient, Credentials: credentials}
	if _, err := (&registry.Pusher{Images: m, Client: client}).Push(t.Context(), img, s.ref(t, "a/b:1"), registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	p, _ := newPuller(t)
	p.Client = client
	if got, err := p.Pull(t.Context(), s.ref(t, "a/b:1"), options()); err != nil || got.Manifest.Digest != img.Manifest.Digest || got.Name != s.ref(t, "a/b:1") {
		t.Errorf("%+v, %v", got, err)
	}
	sound(t, p.Images)
	// As a mirror of another one.
	p, _ = newPuller(t)
	p.Client = &registry.Client{Retry: patient, Credentials: credentials, Hosts: map[string]registry.Host{"127.0.0.1:1": {PlainHTTP: true, Mirrors: []string{s.host()}}}}
	ref := s.ref(t, "a/b:1")
	ref.Domain = "127.0.0.1:1"
	if _, err := p.Pull(t.Context(), ref, options()); err != nil {
		t.Error(err)
	}
}

// What a registry says of its limits is shown as it says it, with the time it
// wants one to wait, as a number or a date.
func TestRateLimitIsShown(t *testing.T) {
	const said = "You have reached your pull rate limit. You may increase the limit by authenticating"
	for name, after := range map[string]string{"seconds": "7200", "date": time.Now().Add(2*time.Hour + time.Minute).UTC().Format(http.TimeFormat)} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.spoil = func(w http.ResponseWriter, _ *http.Request, _ string, _ int) bool {
				w.Header().Set("Retry-After", after)
				w.WriteHeader(http.StatusTooManyRequests)
				_, err := fmt.Fprintf(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":%q}]}`, said)
				return err == nil
			}
			p, roots := newPuller(t)
			_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
			var status *registry.StatusError
			if !errors.As(err, &status) || status.Code != http.StatusTooManyRequests || status.RetryAfter < 2*time.Hour || status.RetryAfter > 2*time.Hour+time.Minute {
				t.Fatalf("%+v, %v", status, err)
			}
			for _, word := range []string{said, "retry after 2h", "429", s.host()} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in: %v", word, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
			untouched(t, p, roots)
		})
	}
}

// A token that expires while a blob is on its way, whose connection then breaks:
// the rest is asked for with a new one, by Range.
func TestTokenExpiresMidBlob(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 2<<20)
	s.push(t, "a/x", "latest", imagetest.NewImage(t, amd64, l))
	half := int(l.Size) / 2
	tokens, valid := 0, ""
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.URL.Path == "/token" {
			tokens++
			valid = fmt.Sprintf("t%d", tokens)
			_, err := fmt.Fprintf(w, `{"token":%q,"expires_in":60}`, valid)
			return err == nil
		}
		if valid == "" || r.Header.Get("Authorization") != "Bearer "+valid {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:a/x:pull"`, s.URL))
			return status(401)(w)
		}
		if object == l.Digest.String() && tokens == 1 {
			valid = "" // it has expired meanwhile
			return cut(w, l.Blob, half)
		}
		return false
	}
	p, _ := newPuller(t)
	if _, err := p.Pull(t.Context(), s.ref(t, "a/x"), options()); err != nil {
		t.Fatal(err)
	}
	sound(t, p.Images)
	if tokens != 2 {
		t.Errorf("%d tokens", tokens)
	}
	if want := fmt.Sprintf("bytes=%d-%d", half, l.Size-1); len(s.ranges) == 0 || s.ranges[len(s.ranges)-1] != want {
		t.Errorf("ranges %v, want %s", s.ranges, want)
	}
}
