package image_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/joyboyid/xc/image"
)

const hex64 = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

func ExampleParseReference() {
	for _, s := range []string{"alpine", "joyboyid/xc:1.0", "[::1]:5000/a/b"} {
		ref, err := image.ParseReference(s)
		if err != nil {
			panic(err)
		}
		fmt.Println(ref, ref.Familiar())
	}
	// Output:
	// docker.io/library/alpine:latest alpine:latest
	// docker.io/joyboyid/xc:1.0 joyboyid/xc:1.0
	// [::1]:5000/a/b:latest [::1]:5000/a/b:latest
}

func TestParseReference(t *testing.T) {
	for s, want := range map[string]image.Reference{
		"alpine":                              {Domain: "docker.io", Path: "library/alpine", Tag: "latest"},
		"alpine:3.20":                         {Domain: "docker.io", Path: "library/alpine", Tag: "3.20"},
		"index.docker.io/alpine":              {Domain: "docker.io", Path: "library/alpine", Tag: "latest"},
		"docker.io/library/alpine:3":          {Domain: "docker.io", Path: "library/alpine", Tag: "3"},
		"a__b/c--d":                           {Domain: "docker.io", Path: "a__b/c--d", Tag: "latest"},
		"registry:5000/foo:1":                 {Domain: "registry:5000", Path: "foo", Tag: "1"},
		"localhost/foo":                       {Domain: "localhost", Path: "foo", Tag: "latest"},
		"Reg/foo":                             {Domain: "Reg", Path: "foo", Tag: "latest"},
		"[2001:db8::1]:443/x/y:T":             {Domain: "[2001:db8::1]:443", Path: "x/y", Tag: "T"},
		"[::1]/x":                             {Domain: "[::1]", Path: "x", Tag: "latest"},
		"r.io/x@sha256:" + hex64:              {Domain: "r.io", Path: "x", Digest: "sha256:" + hex64},
		"r.io/x:v1@sha256:" + hex64:           {Domain: "r.io", Path: "x", Tag: "v1", Digest: "sha256:" + hex64},
		"r.io/x@sha512:" + hex64 + hex64:      {Domain: "r.io", Path: "x", Digest: "sha512:" + hex64 + hex64},
		"docker.io/my.org/app":                {Domain: "docker.io", Path: "my.org/app", Tag: "latest"},
		"docker.io/localhost/app":             {Domain: "docker.io", Path: "localhost/app", Tag: "latest"},
		"docker.io/library/" + hex64 + ":lat": {Domain: "docker.io", Path: "library/" + hex64, Tag: "lat"},
	} {
		got, err := image.ParseReference(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, want)
		}
		text, err := json.Marshal(got)
		var back image.Reference
		if err := errorOr(err, json.Unmarshal(text, &back)); err != nil || back != got {
			t.Errorf("%s as JSON is %s: %+v, %v", s, text, back, err)
		}
	}
	for s, object := range map[string]string{"x": "latest", "x:1@sha256:" + hex64: "sha256:" + hex64} {
		if r, err := image.ParseReference(s); err != nil || r.Object() != object {
			t.Errorf("object of %s is %s, %v", s, r.Object(), err)
		}
	}
}

func errorOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, s := range []string{
		"", "Alpine", "foo:bar baz", "foo:", "foo@", "/foo", "foo//bar", "foo/", ":tag", hex64,
		"x@sha256:abc", "x@md5:d41d8cd98f00b204e9800998ecf8427e", "x@sha384:" + hex64 + hex64[:32],
		"x@sha256:" + strings.ToUpper(hex64), "x\n", "x:" + strings.Repeat("t", 129), "../x", "a/../b",
		strings.Repeat("a", 256), strings.Repeat("a/", 4096) + "b", "http://r.io/x", "x@sha256:" + hex64 + "\x00",
	} {
		if r, err := image.ParseReference(s); err == nil {
			t.Errorf("%.80q is %+v", s, r)
		}
	}
}

// The oracle is the parser of the distribution project, on which ours stands:
// what is checked is what we add.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"alpine", "a/b:c", "localhost:5000/x", "[::1]:5000/x:y", "x@sha256:" + hex64, "x:y@sha256:" + hex64,
		"docker.io/my.org/x", "docker.io/localhost/x", "UPPER/x", "x@sha384:" + hex64 + hex64[:32], "docker.io/library/a/b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := image.ParseReference(s)
		named, oracleErr := reference.ParseNormalizedNamed(s)
		if err != nil {
			if oracleErr == nil && len(s) <= 1024 && !strings.Contains(s, "@sha384:") {
				t.Fatalf("%q: %v, but the oracle reads it", s, err)
			}
			return
		}
		if oracleErr != nil {
			t.Fatalf("%q is %+v, but the oracle says %v", s, got, oracleErr)
		}
		if want := reference.TagNameOnly(named).String(); got.String() != want {
			t.Fatalf("%q is %s, the oracle has %s", s, got, want)
		}
		for _, form := range []string{got.String(), got.Familiar()} {
			if back, err := image.ParseReference(form); err != nil || back != got {
				t.Fatalf("%q reads back as %+v, %v, was %+v", form, back, err, got)
			}
		}
	})
}
