package image_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

func platform(t testing.TB, s string) ispec.Platform {
	t.Helper()
	p, err := image.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParsePlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64": "linux/amd64", "Linux/x86_64": "linux/amd64", "freebsd/aarch64": "freebsd/arm64",
		"linux/arm64/v8": "linux/arm64", "linux/arm": "linux/arm/v7", "linux/arm/v6": "linux/arm/v6",
		"linux/armhf": "linux/arm/v7", "linux/amd64/v3": "linux/amd64/v3", "linux/i386": "linux/386",
	} {
		if got := image.FormatPlatform(platform(t, s)); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
	for _, s := range []string{"", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/" + strings.Repeat("x", 200)} {
		if p, err := image.ParsePlatform(s); err == nil {
			t.Errorf("%q is %+v", s, p)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		want, has string
		match     bool
	}{
		{"linux/amd64", "linux/amd64", true}, {"linux/amd64", "linux/amd64/v1", true},
		{"linux/amd64", "linux/amd64/v2", false}, {"linux/amd64/v3", "linux/amd64/v2", true},
		{"linux/amd64/v3", "linux/amd64", true}, {"linux/arm/v7", "linux/arm/v6", true},
		{"linux/arm/v6", "linux/arm/v7", false}, {"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64", "linux/arm64/v9", false}, {"linux/amd64", "freebsd/amd64", false},
		{"linux/amd64", "linux/arm64", false}, {"linux/ppc64le/power9", "linux/ppc64le/power9", true},
		{"linux/ppc64le/power9", "linux/ppc64le/power8", false},
	} {
		parts := strings.Split(test.has, "/")
		has := ispec.Platform{OS: parts[0], Architecture: parts[1]}
		if len(parts) == 3 {
			has.Variant = parts[2]
		}
		if got := image.Match(platform(t, test.want), has); got != test.match {
			t.Errorf("Match(%s, %s) is %v", test.want, test.has, got)
		}
	}
	if !image.Match(platform(t, "linux/amd64"), ispec.Platform{}) {
		t.Error("what is not said must not exclude")
	}
}

func entry(name string, p *ispec.Platform) ispec.Descriptor {
	return ispec.Descriptor{
		MediaType: ispec.MediaTypeImageManifest, Platform: p,
		Annotations: map[string]string{"name": name},
	}
}

func TestSelect(t *testing.T) {
	of := func(os, arch, variant, version string) *ispec.Platform {
		return &ispec.Platform{OS: os, Architecture: arch, Variant: variant, OSVersion: version}
	}
	attestation := entry("attestation", of("linux", "amd64", "", ""))
	attestation.Annotations["vnd.docker.reference.type"] = "attestation-manifest"
	artifact := entry("artifact", of("linux", "amd64", "", ""))
	artifact.MediaType = "application/vnd.example+json"
	index := ispec.Index{Manifests: []ispec.Descriptor{
		attestation, artifact,
		entry("unknown", of("unknown", "unknown", "", "")),
		entry("nameless", nil),
		entry("v6", of("linux", "arm", "v6", "")),
		entry("v7", of("linux", "arm", "v7", "")),
		entry("amd64", of("linux", "amd64", "", "")),
		entry("amd64v3", of("linux", "amd64", "v3", "")),
		entry("f15", of("freebsd", "amd64", "", "15.0")),
		entry("f13", of("freebsd", "amd64", "", "13.5")),
		entry("f14", of("freebsd", "amd64", "", "14.3-RELEASE")),
		entry("f14old", of("freebsd", "amd64", "", "14.1")),
		entry("fany", of("freebsd", "arm64", "", "")),
	}}
	for _, test := range []struct {
		want    string // several separated by spaces
		host    string
		got     string
		warning bool
	}{
		{"linux/amd64", "", "amd64", false},
		{"linux/amd64/v2", "", "amd64", false},
		{"linux/amd64/v4", "", "amd64v3", false},
		{"linux/arm", "", "v7", false},
		{"linux/arm/v6", "", "v6", false},
		{"freebsd/amd64 linux/amd64", "14.3-RELEASE-p2", "f14", false},
		{"freebsd/amd64", "14.0-RELEASE", "f14", false}, // the minor number does not matter
		{"freebsd/amd64", "16.0-CURRENT", "f15", false},
		{"freebsd/amd64", "12.4", "f13", true},
		{"freebsd/amd64", "", "f15", false},
		{"freebsd/arm64 linux/arm64", "13.2", "fany", false},
		{"freebsd/riscv64 linux/amd64", "15.0", "amd64", false},
	} {
		var want []ispec.Platform
		for _, s := range strings.Fields(test.want) {
			want = append(want, platform(t, s))
		}
		got, err := image.Select(index, want, test.host)
		if err != nil || got.Annotations["name"] != test.got || (got.Warning != "") != test.warning {
			t.Errorf("%s on %q: %s, warning %q, %v; want %s", test.want, test.host, got.Annotations["name"], got.Warning, err, test.got)
		}
	}
	_, err := image.Select(index, []ispec.Platform{platform(t, "linux/s390x")}, "")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "linux/s390x") || !strings.Contains(err.Error(), "freebsd(14.3-RELEASE)/amd64") {
		t.Errorf("error is %v", err)
	}
	if _, err := image.Select(index, nil, ""); err == nil {
		t.Error("chose for no platform")
	}
	lone := ispec.Index{Manifests: []ispec.Descriptor{entry("lone", nil)}}
	if got, err := image.Select(lone, []ispec.Platform{platform(t, "linux/amd64")}, ""); err != nil || got.Annotations["name"] != "lone" {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "freebsd/aarch64", "a/b/c/d", "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := image.ParsePlatform(s)
		if err != nil {
			return
		}
		back, err := image.ParsePlatform(image.FormatPlatform(p))
		if err != nil || back.OS != p.OS || back.Architecture != p.Architecture || back.Variant != p.Variant {
			t.Fatalf("%q is %+v, which reads back as %+v, %v", s, p, back, err)
		}
		if !image.Match(p, p) {
			t.Fatalf("%+v does not match itself", p)
		}
	})
}
