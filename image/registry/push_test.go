package registry_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

// imported is an image of one layer of about size bytes, in a store of its own.
func imported(t *testing.T, p ispec.Platform, size int) (*store.Images, store.Image) {
	t.Helper()
	m, _ := imagetest.Open(t)
	ref, err := image.ParseReference("r.io/base:1")
	if err != nil {
		t.Fatal(err)
	}
	l := layer(t, "f"+p.Architecture, size)
	img, err := m.Import(t.Context(), bytes.NewReader(l.Data), store.ImportOptions{Name: ref, Platform: p})
	if err != nil {
		t.Fatal(err)
	}
	return m, img
}

// uploads counts what comes, and spoils some of it.
type uploads struct {
	next http.Handler

	mu     sync.Mutex
	ranges []string // of PATCHes
	posts  []string // queries
	spoil  func(w http.ResponseWriter, r *http.Request, n int) bool
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	switch r.Method {
	case http.MethodPatch:
		u.ranges = append(u.ranges, r.Header.Get("Content-Range"))
	case http.MethodPost:
		u.posts = append(u.posts, r.URL.RawQuery)
	}
	n, spoil := len(u.ranges), u.spoil
	u.mu.Unlock()
	if spoil != nil && spoil(w, r, n) {
		return
	}
	u.next.ServeHTTP(w, r)
}

func TestPush(t *testing.T) {
	s := newServer(t)
	m, img := imported(t, amd64, 1<<20)
	p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient}}
	var phases []registry.Phase
	o := registry.PushOptions{Progress: func(e registry.Event) { phases = append(phases, e.Phase) }}
	got, err := p.Push(t.Context(), img, s.ref(t, "a/b:1"), o)
	if err != nil || got.Manifest != img.Manifest.Digest || got.Index != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if !slices.Equal(phases, []registry.Phase{registry.Waiting, registry.Uploading, registry.Done}) {
		t.Errorf("%q", phases)
	}
	puller, _ := newPuller(t)
	pulled, err := puller.Pull(t.Context(), s.ref(t, "a/b:1"), options())
	if err != nil || pulled.Manifest.Digest != img.Manifest.Digest || pulled.Chain != img.Chain {
		t.Errorf("%+v, %v", pulled, err)
	}
	// Again: nothing is sent.
	phases = nil
	if _, err := p.Push(t.Context(), img, s.ref(t, "a/b:2"), o); err != nil || !slices.Equal(phases, []registry.Phase{registry.Waiting, registry.Exists}) {
		t.Errorf("%q, %v", phases, err)
	}
	if _, err := p.Push(t.Context(), img, s.ref(t, "a/b@"+img.Manifest.Digest.String()), o); err == nil {
		t.Error("a push by digest")
	}
}

// The images of two platforms under one name; the second of one platform takes
// the place of the first; a name that was one image's becomes an index.
func TestPushIndex(t *testing.T) {
	s := newServer(t)
	client := &registry.Client{Retry: patient}
	push := func(p ispec.Platform, size int, index bool) store.Image {
		t.Helper()
		m, img := imported(t, p, size)
		if _, err := (&registry.Pusher{Images: m, Client: client}).Push(t.Context(), img, s.ref(t, "a:1"), registry.PushOptions{Index: index}); err != nil {
			t.Fatal(err)
		}
		return img
	}
	first := push(amd64, 100, false)
	arm := push(arm64, 100, true)
	digests := func() (list []digest.Digest) {
		t.Helper()
		raw, err := client.Manifest(t.Context(), s.ref(t, "a:1"))
		if err != nil {
			t.Fatal(err)
		}
		index, err := image.ParseIndex(raw.Raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range index.Manifests {
			list = append(list, e.Digest)
		}
		return list
	}
	if got := digests(); !slices.Equal(got, []digest.Digest{first.Manifest.Digest, arm.Manifest.Digest}) {
		t.Errorf("%v", got)
	}
	second := push(amd64, 200, true)
	if got := digests(); !slices.Equal(got, []digest.Digest{arm.Manifest.Digest, second.Manifest.Digest}) {
		t.Errorf("%v", got)
	}
	puller, _ := newPuller(t)
	if got, err := puller.Pull(t.Context(), s.ref(t, "a:1"), options()); err != nil || got.Manifest.Digest != second.Manifest.Digest {
		t.Errorf("%+v, %v", got, err)
	}
}

// A lost connection, an overloaded server: what was sent is not sent again.
func TestPushGoesOn(t *testing.T) {
	for name, spoil := range map[string]func(http.ResponseWriter){
		"cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"503": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"forgotten":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"other part": func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			u := &uploads{next: s.backend}
			u.spoil = func(w http.ResponseWriter, r *http.Request, n int) bool {
				if r.Method == http.MethodPatch && n == 2 {
					if _, err := io.CopyN(io.Discard, r.Body, 1000); err != nil && err != io.EOF {
						t.Error(err)
					}
					spoil(w)
					return true
				}
				return false
			}
			s.backend = u
			m, img := imported(t, amd64, 2<<20)
			p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient, Chunk: 256 << 10}, Parallel: 1}
			if _, err := p.Push(t.Context(), img, s.ref(t, "a:1"), registry.PushOptions{}); err != nil {
				t.Fatal(err)
			}
			if n := len(u.ranges); n < 4 {
				t.Errorf("%d requests for a blob of %d bytes, of which one has failed", n, img.Layers[0].Blob.Size)
			}
			puller, _ := newPuller(t)
			if _, err := puller.Pull(t.Context(), s.ref(t, "a:1"), options()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What another repository of the registry has is asked of it; what it then does
// not give is sent.
func TestPushMounts(t *testing.T) {
	for name, answer := range map[string]int{"taken": http.StatusCreated, "refused": http.StatusForbidden, "not known": 0} {
		s := newServer(t) // which tells no repositories apart
		u := &uploads{next: s.backend}
		s.backend = u
		m, img := imported(t, amd64, 1000)
		if err := m.Tag(t.Context(), img.Name, s.ref(t, "known/repo:1")); err != nil {
			t.Fatal(err)
		}
		p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient}, Parallel: 1}
		u.spoil = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Query().Get("mount") == "" || answer == 0 {
				return false
			}
			w.WriteHeader(answer)
			return true
		}
		last := registry.Phase("")
		_, err := p.Push(t.Context(), img, s.ref(t, strings.ReplaceAll(name, " ", "")+"/x:1"), registry.PushOptions{Progress: func(e registry.Event) { last = e.Phase }})
		want := registry.Done
		if answer == http.StatusCreated {
			want = registry.FromOther
			// The registry lies: it has nothing. That is its own affair.
			if err != nil && !strings.Contains(err.Error(), "MANIFEST") {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if last != want || !strings.Contains(u.posts[0], "from=known%2Frepo") {
			t.Errorf("%s: %s, %q", name, last, u.posts)
		}
	}
}

// A push wants a token that allows it, for each repository it touches, and a new
// one when that expires between two parts of a blob.
func TestPushBearer(t *testing.T) {
	s := newServer(t)
	u := &uploads{next: s.backend}
	s.backend = u
	var mu sync.Mutex
	tokens, refused := 0, 0
	scopes := map[string]int{}
	valid := ""
	gate := func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/token" {
			if r.Header.Get("Authorization") != basic {
				return status(401)(w)
			}
			tokens++
			for _, scope := range r.URL.Query()["scope"] {
				scopes[scope]++
			}
			valid = fmt.Sprintf("t%d", tokens)
			_, err := fmt.Fprintf(w, `{"access_token":%q,"expires_in":300}`, valid)
			return err == nil
		}
		if valid != "" && r.Header.Get("Authorization") == "Bearer "+valid {
			return false
		}
		refused++
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:a/b:pull,push"`, s.URL))
		return status(401)(w)
	}
	u.spoil = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == http.MethodPatch && n == 3 {
			mu.Lock()
			valid = "" // it has expired
			mu.Unlock()
		}
		return gate(w, r)
	}
	m, img := imported(t, amd64, 2<<20)
	credentials, err := registry.DockerCredentials(dockerConfig(t, s, "user:pass"))
	if err != nil {
		t.Fatal(err)
	}
	p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient, Chunk: 256 << 10, Credentials: credentials}, Parallel: 1}
	if _, err := p.Push(t.Context(), img, s.ref(t, "a/b:1"), registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if tokens != 2 || refused != 2 {
		t.Errorf("%d tokens, %d refusals, want one at the beginning and one in the middle", tokens, refused)
	}
	for scope := range scopes {
		if !strings.HasPrefix(scope, "repository:a/b:") || !strings.Contains(scope, "push") {
			t.Errorf("asked for %q", scope)
		}
	}
}

// tlsServer is a registry that speaks TLS with a certificate of its own and,
// maybe, wants to see one.
func tlsServer(t *testing.T, clients bool) (s *server, ca string) {
	t.Helper()
	s = newServer(t)
	secure := httptest.NewUnstartedServer(s)
	if clients {
		secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	}
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	s.Server = secure
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

func TestCertificates(t *testing.T) {
	s, ca := tlsServer(t, true)
	s.push(t, "a", "1", imagetest.NewImage(t, amd64, layer(t, "f", 100)))
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	once := registry.Retry{Attempts: 1}
	var unknown x509.UnknownAuthorityError
	for name, c := range map[string]struct {
		host registry.Host
		ok   func(error) bool
	}{
		"nothing":          {registry.Host{}, func(err error) bool { return errors.As(err, &unknown) }},
		"authority":        {registry.Host{CAs: []string{ca}}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "certificate") }},
		"both":             {registry.Host{CAs: []string{ca}, Cert: cert, Key: keyFile}, func(err error) bool { return err == nil }},
		"any":              {registry.Host{SkipVerify: true, Cert: cert, Key: keyFile}, func(err error) bool { return err == nil }},
		"no authority":     {registry.Host{CAs: []string{"/nonexistent"}}, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		"false authority":  {registry.Host{CAs: []string{keyFile}}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "no certificate") }},
		"half certificate": {registry.Host{Cert: cert}, func(err error) bool { return err != nil && strings.Contains(err.Error(), "go together") }},
	} {
		client := &registry.Client{Retry: once, Hosts: map[string]registry.Host{s.host(): c.host}}
		_, err := client.Manifest(t.Context(), s.ref(t, "a:1"))
		if !c.ok(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMirrors(t *testing.T) {
	origin, mirror, empty := newServer(t), newServer(t), newServer(t)
	img := imagetest.NewImage(t, amd64, layer(t, "f", 1<<20))
	blob := img.Layers[0].Digest
	origin.push(t, "a/b", "1", img)
	mirror.push(t, "hub/a/b", "1", img)
	for name, c := range map[string]struct {
		mirrors []string
		spoil   func(w http.ResponseWriter, r *http.Request, object string, n int) bool
		from    *server // that the layer comes from
	}{
		"has it":       {[]string{mirror.host() + "/hub"}, nil, mirror},
		"does not":     {[]string{empty.host()}, nil, origin},
		"is not there": {[]string{"127.0.0.1:1", mirror.host() + "/hub"}, nil, mirror},
		"breaks": {[]string{mirror.host() + "/hub"}, func(w http.ResponseWriter, _ *http.Request, o string, _ int) bool {
			return o == blob.String() && status(500)(w)
		}, origin},
		"has another":    {[]string{mirror.host() + "/hub"}, lies(img.Layers[0]), origin},
		"several of all": {[]string{"127.0.0.1:1", empty.host(), mirror.host() + "/hub"}, nil, mirror},
	} {
		mirror.mu.Lock()
		mirror.spoil, mirror.gets = c.spoil, map[string]int{}
		mirror.mu.Unlock()
		origin.mu.Lock()
		origin.gets = map[string]int{}
		origin.mu.Unlock()
		p, _ := newPuller(t)
		p.Client = &registry.Client{Retry: patient, Hosts: map[string]registry.Host{origin.host(): {Mirrors: c.mirrors}}}
		got, err := p.Pull(t.Context(), origin.ref(t, "a/b:1"), options())
		if err != nil || got.Name != origin.ref(t, "a/b:1") || c.from.count(blob) == 0 || c.from == mirror && origin.count(blob) > 0 {
			t.Errorf("%s: %+v, %v; mirror %d, registry %d", name, got.Name, err, mirror.count(blob), origin.count(blob))
			continue
		}
		sound(t, p.Images)
	}
}

// lies answers for a blob with as many other bytes.
func lies(l imagetest.Layer) func(http.ResponseWriter, *http.Request, string, int) bool {
	return func(w http.ResponseWriter, _ *http.Request, object string, _ int) bool {
		if object != l.Digest.String() {
			return false
		}
		other := slices.Clone(l.Data)
		slices.Reverse(other)
		_, err := w.Write(other)
		return err == nil
	}
}
