package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

// cut sends the first n bytes of a blob and drops the connection.
func cut(w http.ResponseWriter, b imagetest.Blob, n int) bool {
	w.Header().Set("Content-Length", fmt.Sprint(b.Size))
	if _, err := w.Write(b.Data[:n]); err != nil {
		return false
	}
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// whole sends bytes of the test's own as if they were the blob.
func whole(w http.ResponseWriter, data []byte, withLength bool) bool {
	if withLength {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	} else {
		w.(http.Flusher).Flush()
	}
	_, err := w.Write(data)
	return err == nil
}

func flipped(b []byte) []byte {
	c := append([]byte(nil), b...)
	c[len(c)/2] ^= 1
	return c
}

// What the registry gets wrong for good: the pull is refused with both values in
// the message, and nothing is left.
func TestPullRefusesFalseContent(t *testing.T) {
	base, top := layer(t, "base", 50_000), layer(t, "top", 300_000)
	img := imagetest.NewImage(t, amd64, base, top)
	short := img.Layers[1].Data[:1000]
	long := append(flipped(img.Layers[1].Data), "more"...)
	for _, test := range []struct {
		name   string
		object digest.Digest
		answer func(http.ResponseWriter) bool
		words  []string
	}{
		{"layer digest", top.Digest, func(w http.ResponseWriter) bool { return whole(w, flipped(top.Data), true) },
			[]string{"digest", top.Digest.String(), digest.FromBytes(flipped(top.Data)).String()}},
		{"config digest", img.Config.Digest, func(w http.ResponseWriter) bool { return whole(w, flipped(img.Config.Data), true) },
			[]string{"digest", img.Config.Digest.String(), digest.FromBytes(flipped(img.Config.Data)).String()}},
		{"content length too small", top.Digest, func(w http.ResponseWriter) bool { return whole(w, short, true) },
			[]string{"size", fmt.Sprint(top.Size), "1000"}},
		{"content length too large", top.Digest, func(w http.ResponseWriter) bool { return whole(w, long, true) },
			[]string{"size", fmt.Sprint(top.Size), fmt.Sprint(len(long))}},
		{"stream too short", top.Digest, func(w http.ResponseWriter) bool { return whole(w, short, false) },
			[]string{"size", fmt.Sprint(top.Size), "1000"}},
		{"stream too long", top.Digest, func(w http.ResponseWriter) bool { return whole(w, long, false) },
			[]string{"size", fmt.Sprint(top.Size)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.push(t, "x", "latest", img)
			s.spoil = func(w http.ResponseWriter, r *http.Request, object string, _ int) bool {
				if object != test.object.String() {
					return false
				}
				if r.Header.Get("Range") != "" { // nothing more than it gave before
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
					return true
				}
				return test.answer(w)
			}
			p, roots := newPuller(t)
			_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
			if err == nil {
				t.Fatal("pulled")
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in: %v", word, err)
				}
			}
			untouched(t, p, roots)
		})
	}
}

// A configuration that claims the diff id of other content must not get a root
// under that content's chain id.
func TestPullRefusesPoisonedDiffID(t *testing.T) {
	s := newServer(t)
	base, top, genuine := layer(t, "base", 1000), layer(t, "evil", 1000), layer(t, "genuine", 1000)
	poisoned := top
	poisoned.DiffID = genuine.DiffID
	img := imagetest.NewImage(t, amd64, base, poisoned)
	s.push(t, "x", "latest", img)
	p, roots := newPuller(t)
	_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
	var mismatch *image.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Want != genuine.DiffID.String() || mismatch.Got != top.DiffID.String() {
		t.Fatalf("error is %v", err)
	}
	if !strings.Contains(err.Error(), mismatch.Want) || !strings.Contains(err.Error(), mismatch.Got) {
		t.Errorf("not both digests in: %v", err)
	}
	untouched(t, p, roots)
	if entries, err := os.ReadDir(roots.Path); err != nil || len(entries) != 0 {
		t.Errorf("left among the roots: %v, %v", entries, err)
	}
}

// What a false image shares with a good one stays.
func TestRefusedPullSparesOthers(t *testing.T) {
	s := newServer(t)
	base, top := layer(t, "base", 1000), layer(t, "top", 1000)
	good := imagetest.NewImage(t, amd64, base)
	top.DiffID = digest.FromString("something else")
	bad := imagetest.NewImage(t, amd64, base, top)
	s.push(t, "good", "latest", good)
	s.push(t, "bad", "latest", bad)
	p, roots := newPuller(t)
	if _, err := p.Pull(t.Context(), s.ref(t, "good"), options()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), s.ref(t, "bad"), options()); err == nil {
		t.Fatal("pulled")
	}
	sound(t, p.Images)
	if n := blobCount(t, p.Images); n != 3 {
		t.Errorf("%d blobs, want manifest, config and layer", n)
	}
	if chains, err := roots.List(t.Context()); err != nil || len(chains) != 1 {
		t.Errorf("chains: %v, %v", chains, err)
	}
}

func TestPullResumes(t *testing.T) {
	const size = 4 << 20
	l := layer(t, "big", size)
	img := imagetest.NewImage(t, amd64, l)
	half := int(l.Size) / 2
	for _, test := range []struct {
		name   string
		spoil  func(w http.ResponseWriter, r *http.Request, n int) bool
		gets   int
		ranges int
	}{
		{"cut once", func(w http.ResponseWriter, _ *http.Request, n int) bool { return n == 1 && cut(w, l.Blob, half) }, 2, 1},
		{"no Range", func(w http.ResponseWriter, r *http.Request, n int) bool {
			return n == 1 && cut(w, l.Blob, half) || n == 2 && whole(w, l.Data, true)
		}, 2, 1},
		{"another range", func(w http.ResponseWriter, r *http.Request, n int) bool {
			if n == 2 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", l.Size-1, l.Size))
				w.WriteHeader(http.StatusPartialContent)
				_, err := w.Write(l.Data)
				return err == nil
			}
			return n == 1 && cut(w, l.Blob, half)
		}, 3, 1},
		{"416", func(w http.ResponseWriter, r *http.Request, n int) bool {
			return n == 1 && cut(w, l.Blob, half) || n == 2 && status(http.StatusRequestedRangeNotSatisfiable)(w)
		}, 3, 1},
		{"500 twice", func(w http.ResponseWriter, _ *http.Request, n int) bool { return n <= 2 && status(500)(w) }, 3, 0},
		{"429", func(w http.ResponseWriter, _ *http.Request, n int) bool {
			return n == 1 && status(http.StatusTooManyRequests)(w)
		}, 2, 0},
		{"dropped at once", func(http.ResponseWriter, *http.Request, int) bool { panic(http.ErrAbortHandler) }, 6, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.push(t, "x", "latest", img)
			s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
				return object == l.Digest.String() && n < 6 && test.spoil(w, r, n)
			}
			p, _ := newPuller(t)
			if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
				t.Fatal(err)
			}
			sound(t, p.Images)
			if n := s.count(l.Digest); n != test.gets {
				t.Errorf("%d GETs of the layer, want %d", n, test.gets)
			}
			if len(s.ranges) != test.ranges {
				t.Errorf("ranges asked for: %v, want %d", s.ranges, test.ranges)
			}
			if len(s.ranges) > 0 && s.ranges[0] != fmt.Sprintf("bytes=%d-%d", half, l.Size-1) {
				t.Errorf("asked for %s, had %d bytes", s.ranges[0], half)
			}
		})
	}
}

// A pull that was given up, even by the process, goes on where it was.
func TestNextPullGoesOn(t *testing.T) {
	s := newServer(t)
	l := layer(t, "big", 4<<20)
	img := imagetest.NewImage(t, amd64, l)
	s.push(t, "x", "latest", img)
	half := int(l.Size) / 2
	ctx, cancel := context.WithCancel(t.Context())
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
		if object != l.Digest.String() || n > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(l.Size))
		if _, err := w.Write(l.Data[:half]); err != nil {
			return false
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done() // stalls until the client has gone
		return true
	}
	p, _ := newPuller(t)
	o := options()
	o.Progress = func(e registry.Event) {
		if e.Phase == registry.Downloading && e.Current > 0 {
			cancel()
		}
	}
	if _, err := p.Pull(ctx, s.ref(t, "x"), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
		t.Fatal(err)
	}
	sound(t, p.Images)
	if len(s.ranges) != 1 || s.ranges[0] == fmt.Sprintf("bytes=0-%d", l.Size-1) {
		t.Errorf("ranges asked for: %v", s.ranges)
	}
}

// What a partial blob has become on a bad disk costs a download, not the pull.
func TestSpoiledPartialIsFetchedAnew(t *testing.T) {
	s := newServer(t)
	l := layer(t, "big", 1<<20)
	s.push(t, "x", "latest", imagetest.NewImage(t, amd64, l))
	p, _ := newPuller(t)
	partial := filepath.Join(p.Images.Blobs.Dir(), "ingest", "sha256-"+l.Digest.Encoded())
	if err := os.WriteFile(partial, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
		t.Fatal(err)
	}
	sound(t, p.Images)
	if n := s.count(l.Digest); n != 2 || len(s.ranges) != 1 {
		t.Errorf("%d GETs, ranges %v", n, s.ranges)
	}
}

func TestStalledConnectionIsGivenUp(t *testing.T) {
	s := newServer(t)
	l := layer(t, "big", 1<<20)
	s.push(t, "x", "latest", imagetest.NewImage(t, amd64, l))
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, n int) bool {
		if object != l.Digest.String() || n > 1 {
			return false
		}
		<-r.Context().Done()
		return true
	}
	p, _ := newPuller(t)
	p.Client.Retry.Stall = 200 * time.Millisecond
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); err != nil {
		t.Fatal(err)
	}
	if n := s.count(l.Digest); n < 2 { // more on a machine that is busy
		t.Errorf("%d GETs", n)
	}
}

func TestPullErrors(t *testing.T) {
	l := layer(t, "l", 1000)
	img := imagetest.NewImage(t, amd64, l)
	for _, test := range []struct {
		name  string
		spoil func(w http.ResponseWriter, object string) bool
		is    error
		words string
		kept  bool // what was fetched before stays for the next pull
	}{
		{"no manifest", func(w http.ResponseWriter, o string) bool { return o == "latest" && status(404)(w) }, fs.ErrNotExist, "spoiled with 404", false},
		{"no blob", func(w http.ResponseWriter, o string) bool { return o == l.Digest.String() && status(404)(w) }, fs.ErrNotExist, l.Digest.String(), false},
		{"unauthorized", func(w http.ResponseWriter, o string) bool { return o == "latest" && status(401)(w) }, fs.ErrPermission, "needs a login", false},
		{"forbidden", func(w http.ResponseWriter, o string) bool { return o == "latest" && status(403)(w) }, fs.ErrPermission, "403", false},
		{"500 for ever", func(w http.ResponseWriter, o string) bool { return o == l.Digest.String() && status(500)(w) }, nil, "gave up after 6 attempts", true},
		{"far too busy", func(w http.ResponseWriter, o string) bool {
			w.Header().Set("Retry-After", "3600")
			return o == "latest" && status(429)(w)
		}, nil, "retry after 1h", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.push(t, "x", "latest", img)
			s.spoil = func(w http.ResponseWriter, _ *http.Request, object string, _ int) bool { return test.spoil(w, object) }
			p, roots := newPuller(t)
			_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.words) {
				t.Fatalf("error is %v", err)
			}
			if test.kept && blobCount(t, p.Images) == 0 {
				t.Error("nothing was kept")
			}
			if !test.kept {
				untouched(t, p, roots)
			}
		})
	}
}

func TestPullByDigestVerifiesTheManifest(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 1000)
	img, other := imagetest.NewImage(t, amd64, l), imagetest.NewImage(t, amd64, l, l)
	s.push(t, "x", "", img)
	s.spoil = func(w http.ResponseWriter, _ *http.Request, object string, _ int) bool {
		w.Header().Set("Content-Type", other.Manifest.MediaType)
		return object == img.Manifest.Digest.String() && whole(w, other.Manifest.Data, true)
	}
	p, roots := newPuller(t)
	_, err := p.Pull(t.Context(), s.ref(t, "x@"+img.Manifest.Digest.String()), options())
	var mismatch *image.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("error is %v", err)
	}
	untouched(t, p, roots)
}

func TestPullRefusesForeignLayers(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 1000)
	l.MediaType = image.MediaTypeDockerForeignGzip
	l.URLs = []string{"http://127.0.0.1/secret"}
	s.push(t, "x", "latest", imagetest.NewDockerImage(t, amd64, l))
	p, roots := newPuller(t)
	if _, err := p.Pull(t.Context(), s.ref(t, "x"), options()); !errors.Is(err, image.ErrForeignLayer) {
		t.Fatalf("error is %v", err)
	}
	untouched(t, p, roots)
	if n := s.count(l.Digest); n != 0 {
		t.Errorf("the layer was asked for %d times", n)
	}
}

func TestOtherHostsSpeakHTTPS(t *testing.T) {
	ref, err := image.ParseReference("registry.invalid:5000/x")
	if err != nil {
		t.Fatal(err)
	}
	for plain, scheme := range map[bool]string{false: "https", true: "http"} {
		seen := ""
		c := &registry.Client{Retry: patient, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			seen = r.URL.Scheme
			return nil, errors.New("no network here")
		})}
		if plain {
			c.Hosts = map[string]registry.Host{"registry.invalid:5000": {PlainHTTP: true}}
		}
		if _, err := c.Manifest(t.Context(), ref); err == nil || seen != scheme {
			t.Errorf("plain %v: spoke %q, %v", plain, seen, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
