package image_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
)

func descriptor(mediaType string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":10}`, mediaType, hex64)
}

func manifest(mediaType, config string, layers ...string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, mediaType, config, strings.Join(layers, ","))
}

func TestParseManifest(t *testing.T) {
	ociConfig := descriptor(ispec.MediaTypeImageConfig)
	for name, s := range map[string]string{
		"oci":             manifest(ispec.MediaTypeImageManifest, ociConfig, descriptor(ispec.MediaTypeImageLayerGzip), descriptor(ispec.MediaTypeImageLayerZstd)),
		"docker":          manifest(image.MediaTypeDockerManifest, descriptor(image.MediaTypeDockerConfig), descriptor(image.MediaTypeDockerLayerGzip)),
		"no media type":   `{"schemaVersion":2,"config":` + ociConfig + `,"layers":[]}`,
		"unknown members": `{"schemaVersion":2,"x":[1],"config":` + ociConfig + `,"layers":[]}`,
	} {
		if _, err := image.ParseManifest([]byte(s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := strings.Replace
	for name, s := range map[string]string{
		"empty":           "",
		"not json":        "<html>",
		"schema 1":        `{"schemaVersion":1,"fsLayers":[]}`,
		"index":           `{"schemaVersion":2,"manifests":[]}`,
		"both":            `{"schemaVersion":2,"manifests":[{}],"config":` + ociConfig + `,"layers":[]}`,
		"neither":         `{"schemaVersion":2}`,
		"says index":      manifest(ispec.MediaTypeImageIndex, ociConfig),
		"artifact":        manifest(ispec.MediaTypeImageManifest, descriptor("application/vnd.oci.empty.v1+json")),
		"odd layer":       manifest(ispec.MediaTypeImageManifest, ociConfig, descriptor("text/plain")),
		"odd digest":      bad(manifest(ispec.MediaTypeImageManifest, ociConfig), "sha256:"+hex64, "sha256:../../etc", 1),
		"odd algorithm":   bad(manifest(ispec.MediaTypeImageManifest, ociConfig), "sha256:", "blake3:", 1),
		"upper case":      bad(manifest(ispec.MediaTypeImageManifest, ociConfig), hex64, strings.ToUpper(hex64), 1),
		"negative":        bad(manifest(ispec.MediaTypeImageManifest, ociConfig), "10", "-1", 1),
		"large config":    bad(manifest(ispec.MediaTypeImageManifest, ociConfig), "10", "99999999999", 1),
		"too many layers": manifest(ispec.MediaTypeImageManifest, ociConfig, make501()...),
		"too large":       `{"schemaVersion":2,"x":"` + strings.Repeat("x", image.MaxManifestSize) + `"}`,
	} {
		if _, err := image.ParseManifest([]byte(s)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, foreign := range []string{
		image.MediaTypeDockerForeignGzip, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	} {
		if _, err := image.ParseManifest([]byte(manifest(ispec.MediaTypeImageManifest, ociConfig, descriptor(foreign)))); !errors.Is(err, image.ErrForeignLayer) {
			t.Errorf("%s: %v", foreign, err)
		}
	}
}

func make501() []string {
	var list []string
	for range image.MaxLayers + 1 {
		list = append(list, descriptor(ispec.MediaTypeImageLayer))
	}
	return list
}

func TestDetectManifest(t *testing.T) {
	single := `"config":{},"layers":[]}`
	for _, test := range []struct{ contentType, body, want string }{
		{"", `{"schemaVersion":2,` + single, ispec.MediaTypeImageManifest},
		{"application/json", `{"schemaVersion":2,` + single, ispec.MediaTypeImageManifest},
		{image.MediaTypeDockerManifest, `{"schemaVersion":2,` + single, image.MediaTypeDockerManifest},
		{image.MediaTypeDockerManifest + "; charset=utf-8", `{"schemaVersion":2,` + single, image.MediaTypeDockerManifest},
		{"", `{"schemaVersion":2,"mediaType":"` + image.MediaTypeDockerManifest + `",` + single, image.MediaTypeDockerManifest},
		{"", `{"schemaVersion":2,"manifests":[]}`, ispec.MediaTypeImageIndex},
		{image.MediaTypeDockerManifestList, `{"schemaVersion":2,"manifests":[]}`, image.MediaTypeDockerManifestList},
		{ispec.MediaTypeImageIndex, `{"schemaVersion":2,` + single, ""},
		{ispec.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"` + image.MediaTypeDockerManifest + `",` + single, ""},
		{"", `{"schemaVersion":2,"mediaType":"text/plain",` + single, ""},
	} {
		got, err := image.DetectManifest(test.contentType, []byte(test.body))
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s as %q: %q, %v", test.body, test.contentType, got, err)
		}
	}
}

func TestParseConfig(t *testing.T) {
	good := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:` + hex64 + `"]},"history":[{"empty_layer":true}],"config":{"Entrypoint":null,"Env":["A=$B"]}}`
	if c, err := image.ParseConfig([]byte(good), 1); err != nil || c.Config.Env[0] != "A=$B" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, s := range map[string]string{
		"count":      strings.Replace(good, `["sha`, `["sha256:`+hex64+`","sha`, 1),
		"type":       strings.Replace(good, `"layers"`, `"layers+base"`, 1),
		"diff id":    strings.Replace(good, "sha256:", "md5:", 1),
		"sha512":     strings.Replace(good, "sha256:"+hex64, "sha512:"+hex64+hex64, 1),
		"NUL in env": strings.Replace(good, "A=$B", `A=\u0000`, 1),
		"not json":   "{",
	} {
		if _, err := image.ParseConfig([]byte(s), 1); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The oracle is image-spec's own computation.
func TestChains(t *testing.T) {
	var diffs []digest.Digest
	for i := range 130 {
		if got, want := image.ChainID(diffs), identity.ChainID(diffs); got != want {
			t.Fatalf("%d layers: %s, want %s", i, got, want)
		}
		diffs = append(diffs, digest.FromString(fmt.Sprint(i)))
	}
	want := identity.ChainIDs(append([]digest.Digest(nil), diffs...))
	for i, got := range image.Chains(diffs) {
		if got != want[i] {
			t.Fatalf("chain %d: %s, want %s", i, got, want[i])
		}
	}
}

func TestVerify(t *testing.T) {
	b := []byte("content")
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		d := ispec.Descriptor{Digest: alg.FromBytes(b), Size: 7}
		if err := image.Verify(d, b); err != nil {
			t.Error(err)
		}
		err := image.Verify(d, []byte("CONTENT"))
		var mismatch *image.MismatchError
		if !errors.As(err, &mismatch) || mismatch.What != "digest" {
			t.Errorf("%v", err)
		}
		d.Size = 8
		if err := image.Verify(d, b); !errors.As(err, &mismatch) || mismatch.What != "size" {
			t.Errorf("%v", err)
		}
	}
}

// Whatever the bytes, parsing neither panics nor lets a digest through that is
// not one.
func FuzzParse(f *testing.F) {
	f.Add([]byte(manifest(ispec.MediaTypeImageManifest, descriptor(ispec.MediaTypeImageConfig), descriptor(ispec.MediaTypeImageLayer))), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+descriptor(ispec.MediaTypeImageManifest)+`,{"digest":"sha256:`+hex64+`","platform":{"os":"linux","architecture":"amd64","variant":"v2","os.version":"1.x"}}]}`), image.MediaTypeDockerManifestList)
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:`+hex64+`"]}}`), "application/json")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		if mediaType, err := image.DetectManifest(contentType, b); err == nil && !image.IsIndex(mediaType) && !image.IsManifest(mediaType) {
			t.Fatalf("detected %q", mediaType)
		}
		if m, err := image.ParseManifest(b); err == nil {
			for _, l := range append(m.Layers, m.Config) {
				if err := image.CheckDescriptor(l); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := image.ParseIndex(b); err == nil {
				t.Fatal("both a manifest and an index")
			}
		}
		if index, err := image.ParseIndex(b); err == nil {
			want := []ispec.Platform{{OS: "freebsd", Architecture: "amd64"}, {OS: "linux", Architecture: "amd64", Variant: "v3"}}
			if choice, err := image.Select(index, want, "14.3"); err == nil {
				if err := image.CheckDescriptor(choice.Descriptor); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c, err := image.ParseConfig(b, 1); err == nil {
			if err := image.CheckDigest(c.RootFS.DiffIDs[0]); err != nil {
				t.Fatal(err)
			}
		}
	})
}
