package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
	"github.com/joyboyid/xc/image/store"
)

var (
	amd64 = ispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ispec.Platform{OS: "linux", Architecture: "arm64"}
)

// server is a real registry behind a wrapper that counts and spoils.
type server struct {
	*httptest.Server
	backend http.Handler

	mu     sync.Mutex
	gets   map[string]int // GETs by the last element of the path
	ranges []string       // Range headers that came
	// spoil may answer a GET instead of the registry; n counts those of the same
	// object from 1. Returning false lets it pass.
	spoil func(w http.ResponseWriter, r *http.Request, object string, n int) bool
}

func newServer(t testing.TB) *server {
	s := &server{backend: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))), gets: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/v2/") {
		object := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		s.mu.Lock()
		s.gets[object]++
		n := s.gets[object]
		if v := r.Header.Get("Range"); v != "" {
			s.ranges = append(s.ranges, v)
		}
		spoil := s.spoil
		s.mu.Unlock()
		if spoil != nil && spoil(w, r, object, n) {
			return
		}
	}
	s.backend.ServeHTTP(w, r)
}

func (s *server) host() string { return s.Listener.Addr().String() }

func (s *server) count(d digest.Digest) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets[d.String()]
}

func (s *server) ref(t testing.TB, name string) image.Reference {
	t.Helper()
	ref, err := image.ParseReference(s.host() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (s *server) put(t testing.TB, method, path string, b imagetest.Blob) {
	t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(b.Data))
	req.Header.Set("Content-Type", b.MediaType)
	w := httptest.NewRecorder()
	s.backend.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

// push puts an image into the registry, by tag or, if that is empty, by digest.
func (s *server) push(t testing.TB, repo, tag string, img imagetest.Image) {
	t.Helper()
	blobs := []imagetest.Blob{img.Config}
	for _, l := range img.Layers {
		blobs = append(blobs, l.Blob)
	}
	for _, b := range blobs {
		s.put(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+b.Digest.String(), b)
	}
	s.pushManifest(t, repo, tag, img.Manifest)
}

func (s *server) pushManifest(t testing.TB, repo, tag string, b imagetest.Blob) {
	t.Helper()
	if tag == "" {
		tag = b.Digest.String()
	}
	s.put(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, b)
}

// patient is a Retry that does not wait.
var patient = registry.Retry{Base: time.Nanosecond}

func newPuller(t testing.TB) (*registry.Puller, *imagetest.Roots) {
	t.Helper()
	images, roots := imagetest.Open(t)
	return &registry.Puller{Images: images, Client: &registry.Client{Retry: patient}}, roots
}

func options() registry.Options { return registry.Options{Platforms: []ispec.Platform{amd64}} }

// layer makes a layer of about size bytes that do not compress.
func layer(t testing.TB, name string, size int) imagetest.Layer {
	t.Helper()
	var b strings.Builder
	for d := digest.FromString(name); b.Len() < size; d = digest.FromString(d.String()) {
		b.WriteString(d.Encoded())
	}
	return imagetest.NewLayer(t, ispec.MediaTypeImageLayerGzip, map[string]string{name: b.String()})
}

func blobCount(t testing.TB, m *store.Images) int {
	t.Helper()
	n := 0
	for _, err := range m.Blobs.Blobs() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// sound fails the test unless Check finds nothing.
func sound(t testing.TB, m *store.Images) {
	t.Helper()
	problems, err := m.Check(t.Context())
	if err != nil || len(problems) > 0 {
		t.Fatalf("Check: %v, %v", problems, err)
	}
}

// untouched fails the test if a refused pull has left anything.
func untouched(t testing.TB, p *registry.Puller, roots *imagetest.Roots) {
	t.Helper()
	if n := blobCount(t, p.Images); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	if chains, err := roots.List(t.Context()); err != nil || len(chains) != 0 {
		t.Errorf("chains are left: %v, %v", chains, err)
	}
	if pruned, err := p.Images.Prune(t.Context()); err != nil || pruned.Bytes != 0 {
		t.Errorf("Prune found more: %+v, %v", pruned, err)
	}
	if refs, err := p.Images.Refs.List(t.Context()); err != nil || len(refs) != 0 {
		t.Errorf("names are left: %v, %v", refs, err)
	}
}

func status(code int) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		w.WriteHeader(code)
		_, err := fmt.Fprintf(w, `{"errors":[{"code":"UNKNOWN","message":"spoiled with %d"}]}`, code)
		return err == nil
	}
}
