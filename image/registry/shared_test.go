package registry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
)

// Two images share two layers. Eight pulls of them at once fetch each blob once
// and unpack each chain once.
func TestConcurrentPullsShare(t *testing.T) {
	s := newServer(t)
	base, mid := layer(t, "base", 2<<20), layer(t, "mid", 500_000)
	one := imagetest.NewImage(t, amd64, base, mid, layer(t, "one", 1000))
	two := imagetest.NewImage(t, amd64, base, mid, layer(t, "two", 1000))
	s.push(t, "one", "latest", one)
	s.push(t, "two", "latest", two)
	const pulls = 8
	// Nobody gets the base before everybody has got a manifest.
	var manifests sync.WaitGroup
	manifests.Add(pulls)
	s.spoil = func(_ http.ResponseWriter, r *http.Request, object string, _ int) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			manifests.Done()
		}
		if object == base.Digest.String() {
			manifests.Wait()
		}
		return false
	}
	p, roots := newPuller(t)
	var group sync.WaitGroup
	errs := make(chan error, pulls)
	for i := range pulls {
		group.Go(func() {
			_, err := p.Pull(t.Context(), s.ref(t, []string{"one", "two"}[i%2]), options())
			errs <- err
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	for _, img := range []imagetest.Image{one, two} {
		for _, l := range img.Layers {
			if n := s.count(l.Digest); n != 1 {
				t.Errorf("layer %s was fetched %d times", l.Digest, n)
			}
		}
		if n := s.count(img.Config.Digest); n != 1 {
			t.Errorf("config was fetched %d times", n)
		}
	}
	if len(roots.Commits) != 4 {
		t.Errorf("%d chains, want 4", len(roots.Commits))
	}
	for chain, n := range roots.Commits {
		if n != 1 {
			t.Errorf("chain %s was unpacked %d times", chain, n)
		}
	}
	sound(t, p.Images)
}

// A pull that shares another's download, from a repository which loses the
// blob, gets it from its own.
func TestSharedDownloadFailsForItsOwnerOnly(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 1000)
	one, two := imagetest.NewImage(t, amd64, l), imagetest.NewImage(t, amd64, l, layer(t, "m", 10))
	s.push(t, "one", "latest", one)
	s.push(t, "two", "latest", two)
	started, fail := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.spoil = func(w http.ResponseWriter, r *http.Request, object string, _ int) bool {
		if object == l.Digest.String() && strings.Contains(r.URL.Path, "/one/") {
			once.Do(func() { close(started) })
			<-fail
			return status(404)(w)
		}
		return false
	}
	p, _ := newPuller(t)
	first := make(chan error)
	go func() {
		_, err := p.Pull(t.Context(), s.ref(t, "one"), options())
		first <- err
	}()
	<-started
	second := make(chan error)
	go func() {
		_, err := p.Pull(t.Context(), s.ref(t, "two"), options())
		second <- err
	}()
	close(fail)
	if err := <-first; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
	sound(t, p.Images)
}

func TestPullDockerImage(t *testing.T) {
	s := newServer(t)
	l := layer(t, "l", 1000)
	l.MediaType = image.MediaTypeDockerLayerGzip
	img := imagetest.NewDockerImage(t, amd64, l)
	s.push(t, "x", "latest", img)
	p, _ := newPuller(t)
	got, err := p.Pull(t.Context(), s.ref(t, "x"), options())
	if err != nil || got.Manifest.MediaType != image.MediaTypeDockerManifest || got.Chain != img.Chain() {
		t.Fatalf("%+v, %v", got, err)
	}
	sound(t, p.Images)
}

func TestPullChoosesPlatform(t *testing.T) {
	s := newServer(t)
	freebsd := func(version string) ispec.Platform {
		return ispec.Platform{OS: "freebsd", Architecture: "amd64", OSVersion: version}
	}
	var entries []ispec.Descriptor
	images := map[string]imagetest.Image{}
	for _, platform := range []ispec.Platform{amd64, arm64, freebsd("14.3"), freebsd("15.0")} {
		name := image.FormatPlatform(platform)
		img := imagetest.NewImage(t, platform, layer(t, strings.ReplaceAll(name, "/", "_"), 100))
		s.push(t, "x", "", img)
		entry := img.Manifest.Descriptor
		entry.Platform = &platform
		entries = append(entries, entry)
		images[name] = img
	}
	index := imagetest.NewIndex(t, entries...)
	s.pushManifest(t, "x", "latest", index)
	p, _ := newPuller(t)
	for _, test := range []struct {
		want    []string
		host    string
		got     string
		warning bool
	}{
		{[]string{"linux/amd64"}, "", "linux/amd64", false},
		{[]string{"freebsd/amd64", "linux/amd64"}, "14.2-RELEASE-p1", "freebsd(14.3)/amd64", false},
		{[]string{"freebsd/amd64", "linux/amd64"}, "15.0-STABLE", "freebsd(15.0)/amd64", false},
		{[]string{"freebsd/amd64"}, "13.5-RELEASE", "freebsd(14.3)/amd64", true},
		{[]string{"freebsd/arm64", "linux/arm64"}, "15.0", "linux/arm64", false},
	} {
		o := options()
		o.OSVersion, o.Platforms = test.host, nil
		for _, w := range test.want {
			platform, err := image.ParsePlatform(w)
			if err != nil {
				t.Fatal(err)
			}
			o.Platforms = append(o.Platforms, platform)
		}
		got, err := p.Pull(t.Context(), s.ref(t, "x"), o)
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Manifest.Digest != images[test.got].Manifest.Digest || (got.Warning != "") != test.warning || got.Index != index.Digest {
			t.Errorf("%v on %s: got %s, warning %q", test.want, test.host, image.FormatPlatform(*got.Manifest.Platform), got.Warning)
		}
	}
	// By the digest of the index, as registries show it, it is found here too.
	if _, err := p.Images.Resolve(t.Context(), s.ref(t, "x@"+index.Digest.String())); err != nil {
		t.Error(err)
	}
	o := options()
	o.Platforms = []ispec.Platform{{OS: "linux", Architecture: "riscv64"}}
	_, err := p.Pull(t.Context(), s.ref(t, "x"), o)
	var none *image.NoPlatformError
	if !errors.As(err, &none) || len(none.Have) != 4 || !strings.Contains(err.Error(), "linux/arm64, freebsd(14.3)/amd64") {
		t.Errorf("error is %v", err)
	}
}

// An image without index is held against the platforms by its configuration.
func TestPullRefusesOtherPlatform(t *testing.T) {
	s := newServer(t)
	s.push(t, "x", "latest", imagetest.NewImage(t, arm64, layer(t, "l", 100)))
	p, roots := newPuller(t)
	_, err := p.Pull(t.Context(), s.ref(t, "x"), options())
	var none *image.NoPlatformError
	if !errors.As(err, &none) {
		t.Fatalf("error is %v", err)
	}
	untouched(t, p, roots)
}

func TestPullManyLayers(t *testing.T) {
	s := newServer(t)
	var layers []imagetest.Layer
	for i := range 127 {
		layers = append(layers, layer(t, fmt.Sprint(i%100), 64)) // some are there twice
	}
	img := imagetest.NewImage(t, amd64, layers...)
	s.push(t, "x", "latest", img)
	p, roots := newPuller(t)
	roots.Layered = true
	got, err := p.Pull(t.Context(), s.ref(t, "x"), options())
	if err != nil || got.Chain != img.Chain() {
		t.Fatal(err)
	}
	sound(t, p.Images)
	for _, l := range layers {
		if n := s.count(l.Digest); n != 1 {
			t.Errorf("layer was fetched %d times", n)
		}
	}
}

func TestPullWithoutLayers(t *testing.T) {
	s := newServer(t)
	s.push(t, "x", "latest", imagetest.NewImage(t, amd64))
	p, _ := newPuller(t)
	got, err := p.Pull(t.Context(), s.ref(t, "x"), options())
	if err != nil || got.Chain != "" {
		t.Fatalf("%+v, %v", got, err)
	}
}
